-- What traffic shows about units and districts (DET-2 to DET-4).

-- One row a rule, subject and UTC day: what comes later that day makes it graver or longer, never a second alarm.
CREATE TABLE traffic_alarm (
  id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  rule         text NOT NULL,
  subject      text NOT NULL,
  day          date NOT NULL,
  grade        text NOT NULL CHECK (grade IN ('soft','strong','hard')),
  unit_id      integer REFERENCES unit(id),
  first_at     timestamptz NOT NULL,
  last_at      timestamptz NOT NULL,
  -- One sentence for people, and what it rests on (JSON).
  words        text NOT NULL,
  facts        text NOT NULL,
  -- The decisions that show it, by the key of their table; no foreign key, for their days go sooner than this.
  decision_at  timestamptz[] NOT NULL,
  decision_id  bigint[] NOT NULL,
  UNIQUE (rule, subject, day)
);
CREATE INDEX traffic_alarm_unit ON traffic_alarm (unit_id, day);

-- How far traffic was looked at.
CREATE TABLE traffic_mark (
  id           smallint PRIMARY KEY DEFAULT 1 CHECK (id = 1),
  looked_until timestamptz NOT NULL
);
INSERT INTO traffic_mark (looked_until) VALUES (now());

-- Gateways on whose word this evidence brought its unit into quarantine, of whatever kind it is: rules 5.6 limits them.
ALTER TABLE evidence ADD COLUMN quarantined_on_word_of text[] NOT NULL DEFAULT '{}';
UPDATE evidence SET quarantined_on_word_of = ARRAY(SELECT jsonb_array_elements_text(facts::jsonb -> 'gateways'))
  WHERE code = 'CONCURRENT_USE' AND grade = 'hard' AND NOT coalesce((facts::jsonb ->> 'capped')::boolean, false);
DROP INDEX evidence_on_their_word;
CREATE INDEX evidence_on_word_of ON evidence (at) WHERE quarantined_on_word_of <> '{}';
