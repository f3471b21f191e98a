-- quantile_disc is the value at rank ceil(q * n), and at least the first; NaN is above all. approx_quantile takes a bucket.
-- source: calls (user VARCHAR, at TIMESTAMP, ms BIGINT, s DOUBLE)
-- key: user
-- time: at
SELECT
  quantile_disc(ms, 0.0) OVER d AS least,
  quantile_disc(ms, 0.5) OVER d AS median,
  quantile_disc(ms, 0.9) OVER d AS p90,
  quantile_disc(s, 1.0) OVER d AS most,
  approx_quantile(s, 0.5) OVER d AS about
FROM calls
WINDOW d AS (RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND CURRENT ROW)
-- events:
-- a | 2013-12-01 10:00:00 | 40 | 1.0
-- a | 2013-12-01 10:10:00 | 10 | nan
-- a | 2013-12-01 10:20:00 | 30 | 3.14159
-- a | 2013-12-01 10:30:00 | 20 | 100.0
-- a | 2013-12-01 10:40:00 | NULL | NULL
-- rows: user | event_timestamp => least | median | p90 | most | about
-- a | 2013-12-01 11:00:00 => 10 | 20 | 40 | nan | 3.140625
-- a | 2013-12-01 10:10:00 => 10 | 10 | 40 | nan | 1.0
-- a | 2013-12-02 10:40:00 => NULL | NULL | NULL | NULL | NULL
