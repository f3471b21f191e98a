-- Frames of rows count the events that WHERE lets through, newest first; FILTER applies inside. lag(x, 1) is the newest.
-- source: orders (user VARCHAR, at TIMESTAMP, amount DOUBLE, ok BOOLEAN)
-- key: user
-- time: at
SELECT
  sum(amount) OVER (ROWS 2 PRECEDING) AS two,
  sum(amount) OVER (ROWS BETWEEN 3 PRECEDING AND 2 PRECEDING) AS two_behind,
  sum(amount) FILTER (WHERE amount > 4) OVER (ROWS 2 PRECEDING) AS large,
  sum(amount) OVER (ROWS BETWEEN 2 PRECEDING AND CURRENT ROW EXCLUDE GROUP) AS two_before,
  lag(amount) OVER () AS newest,
  lag(amount, 2) OVER () AS second
FROM orders
WHERE ok
-- events:
-- a | 2013-12-01 10:00:00 | 1.0 | TRUE
-- a | 2013-12-01 12:00:00 | 4.0 | TRUE
-- a | 2013-12-01 11:00:00 | 2.0 | TRUE
-- a | 2013-12-01 12:00:00 | 8.0 | TRUE
-- a | 2013-12-01 12:30:00 | 16.0 | NULL
-- a | 2013-12-01 13:00:00 | NULL | TRUE
-- rows: user | event_timestamp => two | two_behind | large | two_before | newest | second
-- a | 2013-12-01 12:00:00 => 12.0 | 6.0 | 8.0 | 3.0 | 8.0 | 4.0
-- a | 2013-12-01 13:00:00 => 8.0 | 12.0 | 8.0 | 12.0 | NULL | 8.0
-- a | 2013-12-01 10:00:00 => 1.0 | NULL | NULL | NULL | 1.0 | NULL
-- a | 2020-01-01 00:00:00 => 8.0 | 12.0 | 8.0 | 8.0 | NULL | 8.0
-- b | 2013-12-01 12:00:00 => NULL | NULL | NULL | NULL | NULL | NULL
