"""What is known of the flight itself, and what each model takes."""

from onefold import FeatureService, OnDemandView

from .aircraft import plane_arrivals, plane_departures
from .airline import carrier_arrivals, carrier_departures
from .airport import origin_arrivals, origin_departures, origin_weather
from .routes import route_arrivals, route_departures

schedule = OnDemandView(
    name="schedule",
    views=[plane_arrivals, plane_departures, route_arrivals],
    request={
        "distance": "DOUBLE",
        "sched_minutes": "DOUBLE",
        "sched_hour": "BIGINT",
        "sched_weekday": "BIGINT",
    },
    sql="""
        SELECT
          sched_hour AS hour_of_day,
          sched_weekday AS day_of_week,
          distance / route_speed_7d AS expected_air_time,
          sched_minutes - distance / route_speed_7d AS slack,
          (epoch_us(event_timestamp) - epoch_us(plane_last_landed_at)) / 60000000 AS minutes_since_plane_landed,
          (epoch_us(event_timestamp) - epoch_us(plane_last_departed_at)) / 60000000 AS minutes_since_plane_left
    """,
)

delay = FeatureService(
    name="delay",
    description="Will the flight arrive more than 15 minutes late? Asked one hour before its scheduled departure",
    features=[
        origin_departures,
        origin_arrivals,
        origin_weather,
        carrier_departures,
        carrier_arrivals,
        plane_departures[["plane_last_dep_delay"]],
        plane_arrivals[["plane_last_arr_delay", "plane_arr_delay_30d"]],
        route_arrivals,
        route_departures,
        schedule,
    ],
)

delay_small = FeatureService(
    name="delay_small",
    description="The same question with eight answers",
    features=[
        origin_departures[["origin_dep_delay_1h", "origin_dep_delay_3h"]],
        origin_weather[["visibility"]],
        carrier_departures[["carrier_dep_delay_3h"]],
        plane_departures[["plane_last_dep_delay"]],
        route_arrivals[["route_late_share_30d"]],
        schedule[["hour_of_day", "slack"]],
    ],
)
