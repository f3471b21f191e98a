"""Will a flight from New York arrive more than 15 minutes late? 336,776 real departures of 2013."""
