//! Reconciles Roomkeeper's custom resources into Graph subscriptions and bookings.
