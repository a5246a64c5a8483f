-- IKE sessions as gateways tell of them, and the question whether two of one unit are alive at once (AUZ-4, DET-1).

-- What a gateway said. Its own count within one start of its connector makes a repeat a repeat and shows a gap. Kept 90 days.
CREATE TABLE session_event (
  gateway_id  integer NOT NULL REFERENCES machine(id),
  stream      uuid NOT NULL,
  seq         bigint NOT NULL CHECK (seq > 0),
  session     bytea NOT NULL CHECK (octet_length(session) = 16),
  kind        text NOT NULL CHECK (kind IN ('up','rekey','down')),
  unit_id     integer NOT NULL REFERENCES unit(id),
  address     inet NOT NULL,
  at          timestamptz NOT NULL,
  received_at timestamptz NOT NULL,
  PRIMARY KEY (gateway_id, stream, seq)
);
CREATE INDEX session_event_received ON session_event (received_at);

-- One row an IKE_SA, named by both SPIs; what its events add up to, in whichever order they came.
CREATE TABLE unit_session (
  gateway_id integer NOT NULL REFERENCES machine(id),
  session    bytea NOT NULL CHECK (octet_length(session) = 16),
  unit_id    integer NOT NULL REFERENCES unit(id),
  address    inet NOT NULL,
  up_at      timestamptz,
  seen_at    timestamptz NOT NULL,
  down_at    timestamptz,
  PRIMARY KEY (gateway_id, session)
);
CREATE INDEX unit_session_unit ON unit_session (unit_id, seen_at);
CREATE INDEX unit_session_live ON unit_session (unit_id) WHERE down_at IS NULL;
CREATE INDEX unit_session_seen ON unit_session (seen_at);

-- Are these sessions of one unit alive now? One question a unit at a time.
CREATE TABLE session_probe (
  id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  unit_id   integer NOT NULL REFERENCES unit(id),
  nonce     bytea NOT NULL,
  ask_at    timestamptz NOT NULL,
  ends_at   timestamptz NOT NULL,
  state     text NOT NULL CHECK (state IN ('open','both-alive','not-both','unanswered')),
  closed_at timestamptz
);
CREATE UNIQUE INDEX session_probe_open ON session_probe (unit_id) WHERE state = 'open';
CREATE INDEX session_probe_ends ON session_probe (ends_at);

CREATE TABLE session_probe_answer (
  probe_id    bigint NOT NULL REFERENCES session_probe(id) ON DELETE CASCADE,
  gateway_id  integer NOT NULL REFERENCES machine(id),
  session     bytea NOT NULL,
  alive       boolean,
  answered_at timestamptz,
  PRIMARY KEY (probe_id, gateway_id, session)
);
CREATE INDEX session_probe_answer_gateway ON session_probe_answer (gateway_id) WHERE answered_at IS NULL;

-- What gateways alone brought about, for the limit on it.
CREATE INDEX evidence_on_their_word ON evidence (at) WHERE code = 'CONCURRENT_USE' AND grade = 'hard';
