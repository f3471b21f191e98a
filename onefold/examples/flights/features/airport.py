"""How an airport of New York is doing right now. Windows of up to a day: an origin has 300 flights in one."""

from onefold import FeatureView

from .sources import arrivals, departures, origin, weather

origin_departures = FeatureView(
    name="origin_departures",
    source=departures,
    entity=origin,
    sql="""
        SELECT
          count(*) OVER h1 AS origin_departures_1h,
          avg(dep_delay) OVER h1 AS origin_dep_delay_1h,
          avg(dep_delay) OVER h3 AS origin_dep_delay_3h,
          max(dep_delay) OVER h3 AS origin_max_dep_delay_3h,
          count(*) FILTER (WHERE dep_delay > 30) OVER h6 AS origin_held_6h,
          avg(dep_delay) OVER d1 AS origin_dep_delay_1d
        FROM departures
        WINDOW
          h1 AS (RANGE BETWEEN INTERVAL 1 HOUR PRECEDING AND CURRENT ROW),
          h3 AS (RANGE BETWEEN INTERVAL 3 HOURS PRECEDING AND CURRENT ROW),
          h6 AS (RANGE BETWEEN INTERVAL 6 HOURS PRECEDING AND CURRENT ROW),
          d1 AS (RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND CURRENT ROW)
    """,
)

origin_arrivals = FeatureView(
    name="origin_arrivals",
    source=arrivals,
    entity=origin,
    sql="""
        SELECT
          avg(arr_delay) OVER h3 AS origin_arr_delay_3h,
          stddev(arr_delay) OVER h6 AS origin_arr_delay_spread_6h,
          count(*) FILTER (WHERE arr_delay > 15) OVER d1 / nullif(count(*) OVER d1, 0) AS origin_late_share_1d
        FROM arrivals
        WINDOW
          h3 AS (RANGE BETWEEN INTERVAL 3 HOURS PRECEDING AND CURRENT ROW),
          h6 AS (RANGE BETWEEN INTERVAL 6 HOURS PRECEDING AND CURRENT ROW),
          d1 AS (RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND CURRENT ROW)
    """,
)

origin_weather = FeatureView(
    name="origin_weather",
    source=weather,
    entity=origin,
    description="A reading lives for three hours; after that it is no longer the weather",
    sql="""
        SELECT
          last_value("temp") OVER h3 AS temperature,
          last_value(wind_speed) OVER h3 AS wind_speed,
          last_value(visib) OVER h3 AS visibility,
          last_value(humid) OVER h3 AS humidity,
          last_value(pressure) FILTER (WHERE pressure IS NOT NULL) OVER h3 AS pressure,
          max(wind_gust) OVER h6 AS max_gust_6h,
          min(visib) OVER h6 AS min_visibility_6h,
          sum(precip) OVER h6 AS precipitation_6h
        FROM weather
        WINDOW
          h3 AS (RANGE BETWEEN INTERVAL 3 HOURS PRECEDING AND CURRENT ROW),
          h6 AS (RANGE BETWEEN INTERVAL 6 HOURS PRECEDING AND CURRENT ROW)
    """,
)
