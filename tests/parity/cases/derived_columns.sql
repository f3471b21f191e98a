-- A subquery derives columns row by row; its WHERE and the view's come before any window.
-- source: orders (user VARCHAR, at TIMESTAMP, amount DOUBLE, items BIGINT, kind VARCHAR)
-- key: user
-- time: at
SELECT
  avg(per_item) OVER d AS mean_per_item,
  max(per_item) FILTER (WHERE is_gift) OVER d AS dearest_gift
FROM (
  SELECT *, amount / items AS per_item, kind IN ('gift', 'card') AS is_gift
  FROM orders
  WHERE amount BETWEEN 0 AND 1000
) AS o
WHERE o.items <> 3
WINDOW d AS (RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND CURRENT ROW)
-- events:
-- a | 2013-12-01 10:00:00 | 10.0 | 4 | gift
-- a | 2013-12-01 11:00:00 | 99.0 | 3 | gift
-- a | 2013-12-01 12:00:00 | 7.0 | 2 | book
-- a | 2013-12-01 13:00:00 | 8.0 | 0 | card
-- a | 2013-12-01 14:00:00 | 1001.0 | 1 | card
-- a | 2013-12-01 15:00:00 | 5.0 | NULL | card
-- rows: user | event_timestamp => mean_per_item | dearest_gift
-- a | 2013-12-01 10:30:00 => 2.5 | 2.5
-- a | 2013-12-01 23:00:00 => 3.0 | 2.5
-- b | 2013-12-01 23:00:00 => NULL | NULL
