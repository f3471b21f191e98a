-- An event with a NULL key is no event of that entity, and a row with a NULL key gets what no event gives.
-- source: flights (origin VARCHAR, dest VARCHAR, at TIMESTAMP, delay DOUBLE)
-- key: origin, dest
-- time: at
SELECT count(*) OVER w AS landed, max(delay) OVER w AS worst
FROM flights
WINDOW w AS (RANGE UNBOUNDED PRECEDING)
-- events:
-- JFK | LAX | 2013-12-01 10:00:00 | 5.0
-- JFK | NULL | 2013-12-01 10:00:00 | 7.0
-- NULL | LAX | 2013-12-01 10:00:00 | 9.0
-- JFK | LAX | 2013-12-01 11:00:00 | -3.0
-- rows: origin | dest | event_timestamp => landed | worst
-- JFK | LAX | 2013-12-02 00:00:00 => 2 | 5.0
-- JFK | NULL | 2013-12-02 00:00:00 => 0 | NULL
-- NULL | LAX | 2013-12-02 00:00:00 => 0 | NULL
-- NULL | NULL | 2013-12-02 00:00:00 => 0 | NULL
