-- count(*) counts events, count(x) values; aggregates pass over NULLs; a filter keeps what is true, not what is unknown.
-- source: orders (user VARCHAR, at TIMESTAMP, amount DOUBLE, paid BOOLEAN)
-- key: user
-- time: at
SELECT
  count(*) OVER w AS orders,
  count(amount) OVER w AS priced,
  avg(amount) OVER w AS mean,
  count(*) FILTER (WHERE NOT paid) OVER w AS unpaid,
  count(*) FILTER (WHERE paid IS NOT TRUE) OVER w AS not_known_paid,
  bool_and(paid) OVER w AS all_paid,
  bool_or(paid) OVER w AS any_paid,
  COALESCE(sum(amount) FILTER (WHERE paid) OVER w, 0) AS paid_amount
FROM orders
WINDOW w AS (RANGE BETWEEN INTERVAL 7 DAYS PRECEDING AND CURRENT ROW)
-- events:
-- a | 2013-12-01 10:00:00 | 3.0 | TRUE
-- a | 2013-12-01 11:00:00 | NULL | NULL
-- a | 2013-12-01 12:00:00 | 4.5 | FALSE
-- b | 2013-12-01 12:00:00 | NULL | NULL
-- rows: user | event_timestamp => orders | priced | mean | unpaid | not_known_paid | all_paid | any_paid | paid_amount
-- a | 2013-12-02 00:00:00 => 3 | 2 | 3.75 | 1 | 2 | FALSE | TRUE | 3.0
-- a | 2013-12-01 11:00:00 => 2 | 1 | 3.0 | 0 | 1 | TRUE | TRUE | 3.0
-- b | 2013-12-02 00:00:00 => 1 | 0 | NULL | 0 | 1 | NULL | NULL | 0.0
-- c | 2013-12-02 00:00:00 => 0 | 0 | NULL | 0 | 0 | NULL | NULL | 0.0
