-- Requests of one proved credential in one minute, over all processes: the limit that protects grants, nonces and the
-- token from a unit gone wild. Rows older than an hour mean nothing (rules 8.5: in PostgreSQL, never in Redis).
CREATE TABLE request_rate (
  scope      text NOT NULL,
  credential bytea NOT NULL,
  minute     timestamptz NOT NULL,
  count      integer NOT NULL,
  PRIMARY KEY (minute, scope, credential)
);
