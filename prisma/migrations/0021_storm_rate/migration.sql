-- One rate of renewals, and one of activations, over all enrol-servers (REN-7; rules 8.5). Unlogged: what is lost with it is a
-- quarter of a second's rate, and a row that must not wait for the disk sixty times a second is worth that.
CREATE UNLOGGED TABLE storm_rate (
  lane      text PRIMARY KEY CHECK (lane IN ('renewal','activation')),
  tokens    double precision NOT NULL,
  granted   integer NOT NULL,
  filled_at timestamptz NOT NULL
);
