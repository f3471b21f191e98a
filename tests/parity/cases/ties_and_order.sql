-- The first and last value go by (time, position), whatever the order of arrival; a NULL is a value too.
-- source: logins (user VARCHAR, at TIMESTAMP, city VARCHAR)
-- key: user
-- time: at
SELECT
  first_value(city) OVER w AS first_city,
  last_value(city) OVER w AS last_city,
  last_value(city) FILTER (WHERE city IS NOT NULL) OVER w AS last_known
FROM logins
WINDOW w AS (RANGE UNBOUNDED PRECEDING)
-- events:
-- a | 2013-12-01 12:00:00 | Oslo
-- a | 2013-12-01 12:00:00 | Bergen
-- a | 2013-12-01 09:00:00 | Turku
-- a | 2013-12-01 12:00:00 | NULL
-- a | 2013-12-01 09:00:00 | Espoo
-- rows: user | event_timestamp => first_city | last_city | last_known
-- a | 2013-12-01 12:00:00 => Turku | NULL | Bergen
-- a | 2013-12-01 11:00:00 => Turku | Espoo | Espoo
-- a | 2013-12-01 08:00:00 => NULL | NULL | NULL
