-- Lists: the oldest first and the newest last, whatever the order of arrival; NULLs are kept, and nothing is an empty list.
-- source: steps (user VARCHAR, at TIMESTAMP, page VARCHAR, n BIGINT)
-- key: user
-- time: at
SELECT
  array_agg(page) OVER d AS pages,
  last_n(n, 2) OVER d AS newest,
  last_n(n, 2) FILTER (WHERE n > 1) OVER d AS newest_large,
  array_agg(n) OVER (ROWS 2 PRECEDING) AS two
FROM steps
WINDOW d AS (RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND CURRENT ROW)
-- events:
-- a | 2013-12-01 12:00:00 | x | 1
-- a | 2013-12-01 12:00:00 | y | 5
-- a | 2013-12-01 09:00:00 | z | 3
-- a | 2013-12-01 13:00:00 | NULL | NULL
-- rows: user | event_timestamp => pages | newest | newest_large | two
-- a | 2013-12-01 12:00:00 => ["z", "x", "y"] | [1, 5] | [3, 5] | [1, 5]
-- a | 2013-12-01 13:00:00 => ["z", "x", "y", null] | [5, null] | [3, 5] | [5, null]
-- a | 2013-12-02 12:30:00 => [null] | [null] | [] | [5, null]
-- a | 2013-12-01 08:00:00 => [] | [] | [] | []
