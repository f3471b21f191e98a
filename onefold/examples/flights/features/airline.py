"""How an airline is doing, now and of late. Windows of up to a week: a large one lands 1,200 flights in it."""

from onefold import FeatureView

from .sources import arrivals, carrier, departures

carrier_departures = FeatureView(
    name="carrier_departures",
    source=departures,
    entity=carrier,
    sql="""
        SELECT
          count(*) OVER h3 AS carrier_departures_3h,
          avg(dep_delay) OVER h3 AS carrier_dep_delay_3h
        FROM departures
        WINDOW h3 AS (RANGE BETWEEN INTERVAL 3 HOURS PRECEDING AND CURRENT ROW)
    """,
)

carrier_arrivals = FeatureView(
    name="carrier_arrivals",
    source=arrivals,
    entity=carrier,
    description="`usual` ends six hours before the request: what is normal, apart from what is going on",
    sql="""
        SELECT
          avg(arr_delay) OVER h6 AS carrier_arr_delay_6h,
          avg(arr_delay) OVER usual AS carrier_usual_arr_delay,
          count(*) FILTER (WHERE arr_delay > 15) OVER d7 / nullif(count(*) OVER d7, 0) AS carrier_late_share_7d
        FROM arrivals
        WINDOW
          h6 AS (RANGE BETWEEN INTERVAL 6 HOURS PRECEDING AND CURRENT ROW),
          d7 AS (RANGE BETWEEN INTERVAL 7 DAYS PRECEDING AND CURRENT ROW),
          usual AS (RANGE BETWEEN INTERVAL 7 DAYS PRECEDING AND INTERVAL 6 HOURS PRECEDING)
    """,
)
