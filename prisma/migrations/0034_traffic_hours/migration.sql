-- What a district's units ask in an hour, so that a burst or a slow rise shows without reading a fortnight of decisions (DET-4).
CREATE TABLE traffic_hour (
  region   text NOT NULL,
  hour     timestamptz NOT NULL,
  -- Authentications and registrations with the key proved, and denials, of units that we know.
  attempts integer NOT NULL,
  denied   integer NOT NULL,
  PRIMARY KEY (region, hour)
);
