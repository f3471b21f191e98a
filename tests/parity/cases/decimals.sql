-- A sum of DECIMALs is judged on its exact total; avg rounds it once. Comparisons and roundings are exact.
-- source: t (k BIGINT, at TIMESTAMP, price DECIMAL(9,2), wide DECIMAL(38,10), most DECIMAL(38,0), n BIGINT)
-- key: k
-- time: at
SELECT
  sum(price) OVER w AS total,
  avg(price) OVER w AS mean,
  sum(wide) OVER w AS wide_total,
  avg(wide) OVER w AS wide_mean,
  sum(most) OVER w AS most_total,
  avg(most) OVER w AS most_mean,
  max(wide) OVER w AS top,
  count(DISTINCT price) OVER w AS prices,
  last_value(price * n) OVER w AS worth,
  sum(price) FILTER (WHERE price > 1.5) OVER w AS above,
  round(sum(price) OVER w, 1) AS short,
  stddev(price) OVER w AS spread
FROM t
WINDOW w AS (RANGE UNBOUNDED PRECEDING)
-- events:
-- 1 | 2013-12-01 10:00:00 | 1.50 | -0.0000000001 | 99999999999999999999999999999999999999 | 3
-- 1 | 2013-12-01 10:00:01 | 2.25 | 9999999999999999999999999999.9999999999 | 1 | -1
-- 1 | 2013-12-01 10:00:02 | NULL | 0.0000000002 | -5 | 2
-- 2 | 2013-12-01 10:00:00 | -0.01 | -1.0000000000 | -99999999999999999999999999999999999999 | NULL
-- 2 | 2013-12-01 10:00:01 | 0.01 | 1.0000000000 | -99999999999999999999999999999999999999 | 0
-- rows: k | event_timestamp => total | mean | wide_total | wide_mean | most_total | most_mean | top | prices | worth | above | short | spread
-- 1 | 2013-12-01 10:00:00 => 1.50 | 1.5 | -0.0000000001 | -1e-10 | 99999999999999999999999999999999999999 | 1e+38 | -0.0000000001 | 1 | 4.50 | NULL | 1.5 | NULL
-- 1 | 2013-12-01 10:00:01 => 3.75 | 1.875 | 9999999999999999999999999999.9999999998 | 5e+27 | NULL | 5e+37 | 9999999999999999999999999999.9999999999 | 2 | -2.25 | 2.25 | 3.8 | 0.5303300858899106
-- 1 | 2013-12-01 10:00:02 => 3.75 | 1.875 | NULL | 3.333333333333333e+27 | 99999999999999999999999999999999999995 | 3.3333333333333333e+37 | 9999999999999999999999999999.9999999999 | 2 | NULL | 2.25 | 3.8 | 0.5303300858899106
-- 2 | 2013-12-01 10:00:00 => -0.01 | -0.01 | -1.0000000000 | -1.0 | -99999999999999999999999999999999999999 | -1e+38 | -1.0000000000 | 1 | NULL | NULL | 0.0 | NULL
-- 2 | 2013-12-01 10:00:01 => 0.00 | 0.0 | 0.0000000000 | 0.0 | NULL | -1e+38 | 1.0000000000 | 2 | 0.00 | NULL | 0.0 | 0.01414213562373095
-- 3 | 2013-12-01 10:00:01 => NULL | NULL | NULL | NULL | NULL | NULL | NULL | 0 | NULL | NULL | NULL | NULL
