-- Integers never wrap: what does not fit is NULL, and a sum is judged on its exact total. // and % cut toward zero.
-- source: t (k BIGINT, at TIMESTAMP, n BIGINT, d BIGINT)
-- key: k
-- time: at
SELECT
  sum(n) OVER w AS total,
  last_value(n // d) OVER w AS quotient,
  last_value(n % d) OVER w AS rest,
  last_value(n / d) OVER w AS ratio,
  last_value(n * 2) OVER w AS twice,
  last_value(abs(n)) OVER w AS size
FROM t
WINDOW w AS (RANGE UNBOUNDED PRECEDING)
-- events:
-- 1 | 2013-12-01 10:00:00 | 9223372036854775807 | 2
-- 1 | 2013-12-01 10:00:01 | 1 | 0
-- 1 | 2013-12-01 10:00:02 | -7 | 2
-- 2 | 2013-12-01 10:00:00 | -9223372036854775808 | -1
-- rows: k | event_timestamp => total | quotient | rest | ratio | twice | size
-- 1 | 2013-12-01 10:00:00 => 9223372036854775807 | 4611686018427387903 | 1 | 4.611686018427388e+18 | NULL | 9223372036854775807
-- 1 | 2013-12-01 10:00:01 => NULL | NULL | NULL | NULL | 2 | 1
-- 1 | 2013-12-01 10:00:02 => 9223372036854775801 | -3 | -1 | -3.5 | -14 | 7
-- 2 | 2013-12-01 10:00:00 => -9223372036854775808 | NULL | 0 | 9.223372036854776e+18 | NULL | NULL
