-- Sketches are lists of whole numbers: the least hashes, in order; and buckets, each followed by how many values it has.
-- source: visits (user VARCHAR, at TIMESTAMP, page VARCHAR, x DOUBLE)
-- key: user
-- time: at
SELECT
  approx_count_distinct(page) OVER d AS pages,
  distinct_sketch(page) OVER d AS hashes,
  quantile_sketch(x) OVER d AS buckets
FROM visits
WINDOW d AS (RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND CURRENT ROW)
-- events:
-- a | 2013-12-01 10:00:00 | a | 1.0
-- a | 2013-12-01 10:10:00 | b | -1.0
-- a | 2013-12-01 10:20:00 | a | 1.0
-- a | 2013-12-01 10:30:00 | NULL | NULL
-- rows: user | event_timestamp => pages | hashes | buckets
-- a | 2013-12-01 11:00:00 => 2 | [-7860083176248561684, 919145239626757800] | [-122881, 1, 122881, 2]
-- a | 2013-12-02 10:15:00 => 1 | [919145239626757800] | [122881, 1]
-- a | 2013-12-01 08:00:00 => 0 | [] | []
