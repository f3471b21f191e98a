"""What one aircraft has been through."""

from onefold import FeatureView

from .sources import arrivals, departures, plane

plane_departures = FeatureView(
    name="plane_departures",
    source=departures,
    entity=plane,
    sql="""
        SELECT
          last_value(dep_delay) OVER d1 AS plane_last_dep_delay,
          last_value(departed_at) OVER d1 AS plane_last_departed_at
        FROM departures
        WINDOW d1 AS (RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND CURRENT ROW)
    """,
)

plane_arrivals = FeatureView(
    name="plane_arrivals",
    source=arrivals,
    entity=plane,
    description="Its last arrival counts for two days; a plane from New York is back within one, as a rule",
    sql="""
        SELECT
          last_value(arr_delay) OVER d2 AS plane_last_arr_delay,
          last_value(landed_at) OVER d2 AS plane_last_landed_at,
          avg(arr_delay) OVER d30 AS plane_arr_delay_30d
        FROM arrivals
        WINDOW
          d2 AS (RANGE BETWEEN INTERVAL 2 DAYS PRECEDING AND CURRENT ROW),
          d30 AS (RANGE BETWEEN INTERVAL 30 DAYS PRECEDING AND CURRENT ROW)
    """,
)
