-- The features of the service `delay` as one would write them for DuckDB alone: events and spine in one table, window
-- frames over it, plain float sums. The peer in training_set.py; times are TIMESTAMP, `_row` numbers the spine.
WITH origin_departures AS (
  SELECT _row,
    count(ev) OVER h1 AS origin_departures_1h,
    avg(dep_delay) OVER h1 AS origin_dep_delay_1h,
    avg(dep_delay) OVER h3 AS origin_dep_delay_3h,
    max(dep_delay) OVER h3 AS origin_max_dep_delay_3h,
    count(CASE WHEN dep_delay > 30 THEN 1 END) OVER h6 AS origin_held_6h,
    avg(dep_delay) OVER d1 AS origin_dep_delay_1d
  FROM (SELECT NULL AS _row, origin, departed_at AS t, 1 AS ev, dep_delay FROM departures
        UNION ALL SELECT _row, origin, t, NULL, NULL FROM spine)
  WINDOW
    h1 AS (PARTITION BY origin ORDER BY t RANGE BETWEEN INTERVAL 1 HOUR PRECEDING AND CURRENT ROW),
    h3 AS (PARTITION BY origin ORDER BY t RANGE BETWEEN INTERVAL 3 HOURS PRECEDING AND CURRENT ROW),
    h6 AS (PARTITION BY origin ORDER BY t RANGE BETWEEN INTERVAL 6 HOURS PRECEDING AND CURRENT ROW),
    d1 AS (PARTITION BY origin ORDER BY t RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND CURRENT ROW)
  QUALIFY _row IS NOT NULL
), origin_arrivals AS (
  SELECT _row,
    avg(arr_delay) OVER h3 AS origin_arr_delay_3h,
    stddev(arr_delay) OVER h6 AS origin_arr_delay_spread_6h,
    count(CASE WHEN arr_delay > 15 THEN 1 END) OVER d1 / nullif(count(ev) OVER d1, 0) AS origin_late_share_1d
  FROM (SELECT NULL AS _row, origin, landed_at AS t, 1 AS ev, arr_delay FROM arrivals
        UNION ALL SELECT _row, origin, t, NULL, NULL FROM spine)
  WINDOW
    h3 AS (PARTITION BY origin ORDER BY t RANGE BETWEEN INTERVAL 3 HOURS PRECEDING AND CURRENT ROW),
    h6 AS (PARTITION BY origin ORDER BY t RANGE BETWEEN INTERVAL 6 HOURS PRECEDING AND CURRENT ROW),
    d1 AS (PARTITION BY origin ORDER BY t RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND CURRENT ROW)
  QUALIFY _row IS NOT NULL
), origin_weather AS (
  SELECT _row,
    last_value("temp" IGNORE NULLS) OVER h3 AS temperature,
    last_value(wind_speed IGNORE NULLS) OVER h3 AS wind_speed,
    last_value(visib IGNORE NULLS) OVER h3 AS visibility,
    last_value(humid IGNORE NULLS) OVER h3 AS humidity,
    last_value(pressure IGNORE NULLS) OVER h3 AS pressure,
    max(wind_gust) OVER h6 AS max_gust_6h,
    min(visib) OVER h6 AS min_visibility_6h,
    sum(precip) OVER h6 AS precipitation_6h
  FROM (SELECT NULL AS _row, origin, observed_at AS t, "temp", wind_speed, visib, humid, pressure, wind_gust, precip
        FROM weather
        UNION ALL SELECT _row, origin, t, NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM spine)
  WINDOW
    h3 AS (PARTITION BY origin ORDER BY t RANGE BETWEEN INTERVAL 3 HOURS PRECEDING AND CURRENT ROW),
    h6 AS (PARTITION BY origin ORDER BY t RANGE BETWEEN INTERVAL 6 HOURS PRECEDING AND CURRENT ROW)
  QUALIFY _row IS NOT NULL
), carrier_departures AS (
  SELECT _row, count(ev) OVER h3 AS carrier_departures_3h, avg(dep_delay) OVER h3 AS carrier_dep_delay_3h
  FROM (SELECT NULL AS _row, carrier, departed_at AS t, 1 AS ev, dep_delay FROM departures
        UNION ALL SELECT _row, carrier, t, NULL, NULL FROM spine)
  WINDOW h3 AS (PARTITION BY carrier ORDER BY t RANGE BETWEEN INTERVAL 3 HOURS PRECEDING AND CURRENT ROW)
  QUALIFY _row IS NOT NULL
), carrier_arrivals AS (
  SELECT _row,
    avg(arr_delay) OVER h6 AS carrier_arr_delay_6h,
    avg(arr_delay) OVER usual AS carrier_usual_arr_delay,
    count(CASE WHEN arr_delay > 15 THEN 1 END) OVER d7 / nullif(count(ev) OVER d7, 0) AS carrier_late_share_7d
  FROM (SELECT NULL AS _row, carrier, landed_at AS t, 1 AS ev, arr_delay FROM arrivals
        UNION ALL SELECT _row, carrier, t, NULL, NULL FROM spine)
  WINDOW
    h6 AS (PARTITION BY carrier ORDER BY t RANGE BETWEEN INTERVAL 6 HOURS PRECEDING AND CURRENT ROW),
    d7 AS (PARTITION BY carrier ORDER BY t RANGE BETWEEN INTERVAL 7 DAYS PRECEDING AND CURRENT ROW),
    usual AS (PARTITION BY carrier ORDER BY t RANGE BETWEEN INTERVAL 7 DAYS PRECEDING AND INTERVAL 6 HOURS PRECEDING)
  QUALIFY _row IS NOT NULL
), plane_departures AS (
  SELECT _row,
    last_value(dep_delay IGNORE NULLS) OVER d1 AS plane_last_dep_delay,
    last_value(departed_at IGNORE NULLS) OVER d1 AS plane_last_departed_at
  FROM (SELECT NULL AS _row, tailnum, departed_at AS t, dep_delay, departed_at FROM departures WHERE tailnum IS NOT NULL
        UNION ALL SELECT _row, tailnum, t, NULL, NULL FROM spine)
  WINDOW d1 AS (PARTITION BY tailnum ORDER BY t RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND CURRENT ROW)
  QUALIFY _row IS NOT NULL
), plane_arrivals AS (
  SELECT _row,
    last_value(arr_delay IGNORE NULLS) OVER d2 AS plane_last_arr_delay,
    last_value(landed_at IGNORE NULLS) OVER d2 AS plane_last_landed_at,
    avg(arr_delay) OVER d30 AS plane_arr_delay_30d
  FROM (SELECT NULL AS _row, tailnum, landed_at AS t, arr_delay, landed_at FROM arrivals WHERE tailnum IS NOT NULL
        UNION ALL SELECT _row, tailnum, t, NULL, NULL FROM spine)
  WINDOW
    d2 AS (PARTITION BY tailnum ORDER BY t RANGE BETWEEN INTERVAL 2 DAYS PRECEDING AND CURRENT ROW),
    d30 AS (PARTITION BY tailnum ORDER BY t RANGE BETWEEN INTERVAL 30 DAYS PRECEDING AND CURRENT ROW)
  QUALIFY _row IS NOT NULL
), route_arrivals AS (
  SELECT _row,
    avg(arr_delay) OVER d1 AS route_arr_delay_1d,
    avg(arr_delay) OVER d30 AS route_arr_delay_30d,
    stddev(arr_delay) OVER d30 AS route_arr_delay_spread_30d,
    min(air_time) OVER d30 AS route_min_air_time_30d,
    count(CASE WHEN arr_delay > 15 THEN 1 END) OVER d30 / nullif(count(ev) OVER d30, 0) AS route_late_share_30d,
    sum(distance) OVER d7 / nullif(sum(air_time) OVER d7, 0) AS route_speed_7d
  FROM (SELECT NULL AS _row, origin, dest, landed_at AS t, 1 AS ev, arr_delay, air_time, distance FROM arrivals
        UNION ALL SELECT _row, origin, dest, t, NULL, NULL, NULL, NULL FROM spine)
  WINDOW
    d1 AS (PARTITION BY origin, dest ORDER BY t RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND CURRENT ROW),
    d7 AS (PARTITION BY origin, dest ORDER BY t RANGE BETWEEN INTERVAL 7 DAYS PRECEDING AND CURRENT ROW),
    d30 AS (PARTITION BY origin, dest ORDER BY t RANGE BETWEEN INTERVAL 30 DAYS PRECEDING AND CURRENT ROW)
  QUALIFY _row IS NOT NULL
), route_departures AS (
  SELECT _row, avg(dep_delay) OVER h6 AS route_dep_delay_6h
  FROM (SELECT NULL AS _row, origin, dest, departed_at AS t, dep_delay FROM departures
        UNION ALL SELECT _row, origin, dest, t, NULL FROM spine)
  WINDOW h6 AS (PARTITION BY origin, dest ORDER BY t RANGE BETWEEN INTERVAL 6 HOURS PRECEDING AND CURRENT ROW)
  QUALIFY _row IS NOT NULL
)
SELECT
  origin_departures.* EXCLUDE (_row), origin_arrivals.* EXCLUDE (_row), origin_weather.* EXCLUDE (_row),
  carrier_departures.* EXCLUDE (_row), carrier_arrivals.* EXCLUDE (_row),
  plane_last_dep_delay, plane_last_arr_delay, plane_arr_delay_30d,
  route_arrivals.* EXCLUDE (_row), route_departures.* EXCLUDE (_row),
  sched_hour AS hour_of_day,
  sched_weekday AS day_of_week,
  distance / route_speed_7d AS expected_air_time,
  sched_minutes - distance / route_speed_7d AS slack,
  (epoch_us(t) - epoch_us(plane_last_landed_at)) / 60000000 AS minutes_since_plane_landed,
  (epoch_us(t) - epoch_us(plane_last_departed_at)) / 60000000 AS minutes_since_plane_left
FROM spine
JOIN origin_departures USING (_row) JOIN origin_arrivals USING (_row) JOIN origin_weather USING (_row)
JOIN carrier_departures USING (_row) JOIN carrier_arrivals USING (_row)
JOIN plane_departures USING (_row) JOIN plane_arrivals USING (_row)
JOIN route_arrivals USING (_row) JOIN route_departures USING (_row)
ORDER BY _row
