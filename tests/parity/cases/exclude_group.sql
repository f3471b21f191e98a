-- EXCLUDE GROUP leaves out what happens at t; a delayed window ends before it.
-- source: orders (user VARCHAR, at TIMESTAMP, amount DOUBLE)
-- key: user
-- time: at
SELECT
  sum(amount) OVER (RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND CURRENT ROW) AS with_now,
  sum(amount) OVER (RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND CURRENT ROW EXCLUDE GROUP) AS before_now,
  sum(amount) OVER (RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND INTERVAL 2 HOURS PRECEDING) AS settled
FROM orders
-- events:
-- a | 2013-12-01 08:00:00 | 1.0
-- a | 2013-12-01 10:00:00 | 2.0
-- a | 2013-12-01 11:59:59.999999 | 4.0
-- a | 2013-12-01 12:00:00 | 8.0
-- a | 2013-12-01 12:00:00 | 16.0
-- rows: user | event_timestamp => with_now | before_now | settled
-- a | 2013-12-01 12:00:00 => 31.0 | 7.0 | 3.0
-- a | 2013-12-01 11:59:59.999999 => 7.0 | 3.0 | 1.0
-- a | 2013-12-01 14:00:00 => 31.0 | 31.0 | 31.0
-- a | 2013-12-02 08:00:00.000001 => 30.0 | 30.0 | 30.0
