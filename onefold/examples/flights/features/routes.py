"""What a route is like."""

from onefold import FeatureView

from .sources import arrivals, departures, route

route_arrivals = FeatureView(
    name="route_arrivals",
    source=arrivals,
    entity=route,
    sql="""
        SELECT
          avg(arr_delay) OVER d1 AS route_arr_delay_1d,
          avg(arr_delay) OVER d30 AS route_arr_delay_30d,
          stddev(arr_delay) OVER d30 AS route_arr_delay_spread_30d,
          min(air_time) OVER d30 AS route_min_air_time_30d,
          count(*) FILTER (WHERE arr_delay > 15) OVER d30 / nullif(count(*) OVER d30, 0) AS route_late_share_30d,
          sum(distance) OVER d7 / nullif(sum(air_time) OVER d7, 0) AS route_speed_7d
        FROM arrivals
        WINDOW
          d1 AS (RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND CURRENT ROW),
          d7 AS (RANGE BETWEEN INTERVAL 7 DAYS PRECEDING AND CURRENT ROW),
          d30 AS (RANGE BETWEEN INTERVAL 30 DAYS PRECEDING AND CURRENT ROW)
    """,
)

route_departures = FeatureView(
    name="route_departures",
    source=departures,
    entity=route,
    sql="""
        SELECT avg(dep_delay) OVER h6 AS route_dep_delay_6h
        FROM departures
        WINDOW h6 AS (RANGE BETWEEN INTERVAL 6 HOURS PRECEDING AND CURRENT ROW)
    """,
)
