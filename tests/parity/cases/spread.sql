-- A deviation of a few thousandths at a mean of 1.7 billion; one value has none; equal values have zero.
-- source: clock (id VARCHAR, at TIMESTAMP, x DOUBLE)
-- key: id
-- time: at
SELECT stddev(x) OVER w AS samp, stddev_pop(x) OVER w AS pop, var_pop(x) OVER w AS variance
FROM clock
WINDOW w AS (RANGE UNBOUNDED PRECEDING)
-- events:
-- a | 2013-12-01 10:00:00 | 1700000000.0
-- a | 2013-12-01 10:00:01 | 1700000000.0078125
-- a | 2013-12-01 10:00:02 | 1700000000.015625
-- b | 2013-12-01 10:00:00 | 0.1
-- b | 2013-12-01 10:00:01 | 0.1
-- rows: id | event_timestamp => samp | pop | variance
-- a | 2013-12-01 10:00:00 => NULL | 0.0 | 0.0
-- a | 2013-12-01 10:00:02 => 0.0078125 | 0.00637887953849786 | 4.0690104166666664e-05
-- b | 2013-12-01 10:00:02 => 0.0 | 0.0 | 0.0
-- c | 2013-12-01 10:00:02 => NULL | NULL | NULL
