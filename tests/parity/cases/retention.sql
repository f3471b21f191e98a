-- Compaction keeps what the window of the earliest row reaches, its lower end included.
-- source: orders (user VARCHAR, at TIMESTAMP, amount DOUBLE)
-- key: user
-- time: at
SELECT count(*) OVER h AS orders, sum(amount) OVER h AS spent
FROM orders
WINDOW h AS (RANGE BETWEEN INTERVAL 1 HOUR PRECEDING AND CURRENT ROW)
-- events:
-- a | 2013-12-01 10:00:00 | 1.0
-- a | 2013-12-01 09:59:59.999999 | 2.0
-- a | 2013-12-01 10:00:00.000001 | 4.0
-- a | 2013-12-01 10:30:00 | 8.0
-- rows: user | event_timestamp => orders | spent
-- a | 2013-12-01 11:00:00 => 3 | 13.0
-- a | 2013-12-01 11:00:00.000001 => 2 | 12.0
