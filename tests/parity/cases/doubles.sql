-- NaN equals itself and is above all; -0.0 is 0.0; division by zero is NULL; a cast rounds half to even.
-- source: t (k VARCHAR, at TIMESTAMP, x DOUBLE, y DOUBLE)
-- key: k
-- time: at
SELECT
  max(x) OVER w AS largest,
  min(x) OVER w AS least,
  last_value(x / y) OVER w AS ratio,
  last_value(x * y) OVER w AS product,
  last_value(x = y) OVER w AS same,
  last_value(x > y) OVER w AS above,
  last_value(CAST(x AS BIGINT)) OVER w AS whole
FROM t
WINDOW w AS (RANGE UNBOUNDED PRECEDING)
-- events:
-- a | 2013-12-01 10:00:00 | 2.5 | 0.0
-- a | 2013-12-01 10:00:01 | nan | nan
-- a | 2013-12-01 10:00:02 | -3.5 | inf
-- b | 2013-12-01 10:00:00 | nan | inf
-- b | 2013-12-01 10:00:01 | 0.0 | -1.0
-- b | 2013-12-01 10:00:02 | 1e300 | 1e300
-- rows: k | event_timestamp => largest | least | ratio | product | same | above | whole
-- a | 2013-12-01 10:00:00 => 2.5 | 2.5 | NULL | 0.0 | FALSE | TRUE | 2
-- a | 2013-12-01 10:00:01 => nan | 2.5 | nan | nan | TRUE | FALSE | NULL
-- a | 2013-12-01 10:00:02 => nan | -3.5 | 0.0 | -inf | FALSE | FALSE | -4
-- b | 2013-12-01 10:00:00 => nan | nan | nan | nan | FALSE | TRUE | NULL
-- b | 2013-12-01 10:00:01 => nan | 0.0 | 0.0 | 0.0 | FALSE | TRUE | 0
-- b | 2013-12-01 10:00:02 => nan | 0.0 | 1.0 | inf | TRUE | FALSE | NULL
