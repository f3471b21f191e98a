-- Windows begin between two buckets, and a delayed one ends there; one that ends at t ends to the microsecond.
-- source: orders (user VARCHAR, at TIMESTAMP, amount DOUBLE)
-- key: user
-- time: at
-- resolution: 1 minute
SELECT
    count(*) OVER h AS orders,
    sum(amount) OVER h AS spent,
    count(*) OVER earlier AS earlier,
    max(amount) OVER h AS most,
    last_value(amount) OVER earlier AS newest
FROM orders
WINDOW
    h AS (RANGE BETWEEN INTERVAL 1 HOUR PRECEDING AND CURRENT ROW),
    earlier AS (RANGE BETWEEN INTERVAL 2 HOURS PRECEDING AND INTERVAL 1 HOUR PRECEDING)
-- events:
-- a | 2013-12-01 10:00:59.999999 | 1.0
-- a | 2013-12-01 10:01:00 | 2.0
-- a | 2013-12-01 10:01:59.999999 | 4.0
-- a | 2013-12-01 10:02:00 | 8.0
-- a | 2013-12-01 11:01:30 | 16.0
-- a | 2013-12-01 10:01:30 | 32.0
-- b | 1969-12-31 23:58:59.999999 | 1.0
-- b | 1969-12-31 23:59:00 | 2.0
-- b | 1969-12-31 23:59:59.999999 | 4.0
-- rows: user | event_timestamp => orders | spent | earlier | most | newest
-- a | 2013-12-01 11:01:00 => 4 | 46.0 | 1 | 32.0 | 1.0
-- a | 2013-12-01 11:01:30 => 5 | 62.0 | 1 | 32.0 | 1.0
-- a | 2013-12-01 11:01:59.999999 => 5 | 62.0 | 1 | 32.0 | 1.0
-- a | 2013-12-01 11:02:00 => 2 | 24.0 | 4 | 16.0 | 4.0
-- a | 2013-12-01 11:01:29.999999 => 4 | 46.0 | 1 | 32.0 | 1.0
-- b | 1970-01-01 00:59:00 => 2 | 6.0 | 1 | 4.0 | 1.0
-- b | 1970-01-01 00:59:59.999999 => 2 | 6.0 | 1 | 4.0 | 1.0
-- b | 1970-01-01 01:00:00 => 0 | NULL | 3 | NULL | 4.0
-- c | 2013-12-01 11:01:00 => 0 | NULL | 0 | NULL | NULL
