-- The row is one more event at its time, behind all others there; the event of its id, if it has come in, counts in its place.
-- source: pays (card VARCHAR, at TIMESTAMP, amount DOUBLE, ok BOOLEAN, id BIGINT)
-- key: card
-- time: at
-- id: id
-- row: include
SELECT
  count(*) OVER h AS pays,
  sum(amount) OVER h AS spent,
  last_value(amount) OVER h AS latest,
  max(amount) OVER (RANGE BETWEEN INTERVAL 1 HOUR PRECEDING AND INTERVAL 1 MINUTE PRECEDING) AS before
FROM pays
WHERE ok
WINDOW h AS (RANGE BETWEEN INTERVAL 1 HOUR PRECEDING AND CURRENT ROW)
-- events:
-- a | 2013-12-01 10:00:00 | 1.0 | TRUE | 1
-- a | 2013-12-01 11:00:00 | 2.0 | TRUE | 2
-- a | 2013-12-01 11:00:00 | 4.0 | FALSE | 3
-- b | 2013-12-01 11:00:00 | 8.0 | TRUE | 4
-- rows: card | amount | ok | id | event_timestamp => pays | spent | latest | before
-- a | 16.0 | TRUE | 9 | 2013-12-01 11:00:00 => 3 | 19.0 | 16.0 | 1.0
-- a | 16.0 | TRUE | 2 | 2013-12-01 11:00:00 => 2 | 3.0 | 2.0 | 1.0
-- a | 16.0 | TRUE | 3 | 2013-12-01 11:00:00 => 3 | 19.0 | 16.0 | 1.0
-- a | 16.0 | TRUE | 1 | 2013-12-01 11:00:00 => 3 | 19.0 | 16.0 | 1.0
-- a | 16.0 | FALSE | 9 | 2013-12-01 11:00:00 => 2 | 3.0 | 2.0 | 1.0
-- a | NULL | TRUE | 9 | 2013-12-01 11:00:00 => 3 | 3.0 | NULL | 1.0
-- c | 16.0 | TRUE | 4 | 2013-12-01 11:00:00 => 1 | 16.0 | 16.0 | NULL
-- NULL | 16.0 | TRUE | 9 | 2013-12-01 11:00:00 => 0 | NULL | NULL | NULL
