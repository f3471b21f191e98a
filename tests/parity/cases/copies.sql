-- Copies of an event (one time, one id) are one: the earliest that passes WHERE. Another time makes another event.
-- source: payments (user VARCHAR, at TIMESTAMP, id VARCHAR, amount DOUBLE, state VARCHAR)
-- key: user
-- time: at
-- id: id
SELECT
  count(*) OVER d AS payments,
  sum(amount) OVER d AS paid,
  sum(amount) FILTER (WHERE amount > 5) OVER d AS paid_large
FROM payments
WHERE state = 'done'
WINDOW d AS (RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND CURRENT ROW)
-- events:
-- a | 2013-12-01 10:00:00 | p1 | 1.0 | open
-- a | 2013-12-01 10:00:00 | p1 | 2.0 | done
-- a | 2013-12-01 10:00:00 | p1 | 9.0 | done
-- a | 2013-12-01 11:00:00 | p1 | 4.0 | done
-- a | 2013-12-01 11:00:00 | p2 | 8.0 | done
-- b | 2013-12-01 11:00:00 | p2 | 16.0 | done
-- rows: user | event_timestamp => payments | paid | paid_large
-- a | 2013-12-01 12:00:00 => 3 | 14.0 | 8.0
-- a | 2013-12-01 10:00:00 => 1 | 2.0 | NULL
-- b | 2013-12-01 12:00:00 => 1 | 16.0 | 16.0
