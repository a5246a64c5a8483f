-- From which networks a unit may come (NET-1), its move to another line (NET-2), and who knocks without being known (AUZ-2).

-- Every version that was ever proposed, never changed afterwards but for its state: `document` is canonical JSON, and
-- document_sha256 is what two people sign.
CREATE TABLE network_policy (
  version         integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  state           text NOT NULL CHECK (state IN ('proposed','active','retired')),
  document        text NOT NULL,
  document_sha256 bytea NOT NULL,
  rule_count      integer NOT NULL,
  copied_from     integer REFERENCES network_policy(version),
  reason          text NOT NULL,
  proposed_by     text NOT NULL,
  proposed_at     timestamptz NOT NULL,
  activated_by    text,
  approved_by     text,
  activated_at    timestamptz,
  retired_at      timestamptz
);
CREATE UNIQUE INDEX network_policy_one_active ON network_policy (state) WHERE state = 'active';

-- Leave to move to one new line, once, until it expires. One open order a unit, and one a line.
CREATE TABLE relocation_order (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  unit_id    integer NOT NULL REFERENCES unit(id),
  line_id    integer NOT NULL REFERENCES line(id),
  state      text NOT NULL CHECK (state IN ('open','spent','expired','withdrawn')),
  reason     text NOT NULL,
  created_by text NOT NULL,
  created_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL CHECK (expires_at > created_at),
  closed_at  timestamptz
);
CREATE UNIQUE INDEX relocation_order_one_open ON relocation_order (unit_id) WHERE state = 'open';
CREATE UNIQUE INDEX relocation_order_line_open ON relocation_order (line_id) WHERE state = 'open';

-- One alarm for all who knock without being known, as long as they keep knocking; its members are the decisions that
-- name it.
CREATE TABLE unknown_alarm (
  id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  state           text NOT NULL CHECK (state IN ('open','quiet','acknowledged')),
  opened_at       timestamptz NOT NULL,
  last_at         timestamptz NOT NULL,
  attempts        integer NOT NULL,
  acknowledged_by text,
  acknowledged_at timestamptz
);
CREATE UNIQUE INDEX unknown_alarm_one_open ON unknown_alarm (state) WHERE state = 'open';

ALTER TABLE decision
  ADD COLUMN alarm_id       bigint,
  ADD COLUMN policy_version integer;
CREATE INDEX decision_alarm ON decision (alarm_id, id) WHERE alarm_id IS NOT NULL;
-- Decisions are appended in the order of time: a dry run reads the last hours and no index grows with each answer.
CREATE INDEX decision_at ON decision USING brin (at) WITH (pages_per_range = 16, autosummarize = on);
