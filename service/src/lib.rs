//! What both daemons of Roomkeeper need: telemetry, metrics, admin HTTP, TLS, shutdown, access to Graph per scope.
