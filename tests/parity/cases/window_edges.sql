-- A window holds both its ends, and every event that ties with t.
-- source: orders (user VARCHAR, at TIMESTAMP, amount DOUBLE)
-- key: user
-- time: at
SELECT count(*) OVER h AS orders, sum(amount) OVER h AS spent
FROM orders
WINDOW h AS (RANGE BETWEEN INTERVAL 1 HOUR PRECEDING AND CURRENT ROW)
-- events:
-- a | 2013-12-01 10:00:00 | 1.0
-- a | 2013-12-01 11:00:00 | 2.0
-- a | 2013-12-01 11:00:00 | 4.0
-- a | 2013-12-01 11:00:00.000001 | 8.0
-- b | 2013-12-01 11:00:00 | 16.0
-- rows: user | event_timestamp => orders | spent
-- a | 2013-12-01 11:00:00 => 3 | 7.0
-- a | 2013-12-01 11:00:00.000001 => 3 | 14.0
-- a | 2013-12-01 10:59:59.999999 => 1 | 1.0
-- a | 2013-12-01 12:00:00 => 3 | 14.0
-- a | 2013-12-01 12:00:00.000001 => 1 | 8.0
-- a | 2013-12-01 09:00:00 => 0 | NULL
-- c | 2013-12-01 11:00:00 => 0 | NULL
