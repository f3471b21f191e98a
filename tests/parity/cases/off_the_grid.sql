-- One event of 2^53 or more: its sum is NULL, though one such value would fit where the sums of smaller ones are made.
-- source: meter (id VARCHAR, at TIMESTAMP, x DOUBLE)
-- key: id
-- time: at
SELECT sum(x) OVER w AS total, avg(x) OVER w AS mean
FROM meter
WINDOW w AS (RANGE UNBOUNDED PRECEDING)
-- events:
-- beyond | 2013-12-01 10:00:00 | 9007199254740992.0
-- rows: id | event_timestamp => total | mean
-- beyond | 2013-12-01 10:00:00 => NULL | NULL
-- beyond | 2013-12-01 11:00:00 => NULL | NULL
