-- Since when somebody knew, what must be reported until when, and what happened meanwhile (INC-1, INC-2).

ALTER TABLE incident_case ADD COLUMN aware_at timestamptz, ADD COLUMN aware_by text, ADD COLUMN closed_at timestamptz;

-- What people and clocks did about a case. Rows are only ever added.
CREATE TABLE case_event (
  id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  case_id bigint NOT NULL REFERENCES incident_case(id),
  at      timestamptz NOT NULL,
  kind    text NOT NULL CHECK (kind IN ('acknowledged','aware','fact','reported','closed')),
  actor   text NOT NULL,
  note    text NOT NULL DEFAULT ''
);
CREATE INDEX case_event_case ON case_event (case_id, at);

-- One report that is owed. Its time is written down when it begins to run: a later change of the rules moves nothing.
CREATE TABLE case_duty (
  id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  case_id  bigint NOT NULL REFERENCES incident_case(id),
  pack     text NOT NULL,
  duty     text NOT NULL,
  began_at timestamptz NOT NULL,
  due_at   timestamptz NOT NULL,
  done_at  timestamptz,
  done_by  text,
  receipt  text
);
CREATE INDEX case_duty_case ON case_duty (case_id);
CREATE INDEX case_duty_owed ON case_duty (due_at) WHERE done_at IS NULL;

-- No quiet ending: a case and what was done about it cannot be taken out, nor told otherwise afterwards.
CREATE FUNCTION refuse_change_of_case() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% of % is refused: cases stay as they were told', TG_OP, TG_TABLE_NAME USING ERRCODE = '23514';
END $$;
CREATE TRIGGER incident_case_stays BEFORE DELETE ON incident_case FOR EACH ROW EXECUTE FUNCTION refuse_change_of_case();
CREATE TRIGGER case_event_stays BEFORE UPDATE OR DELETE ON case_event FOR EACH ROW EXECUTE FUNCTION refuse_change_of_case();
CREATE TRIGGER case_duty_stays BEFORE DELETE ON case_duty FOR EACH ROW EXECUTE FUNCTION refuse_change_of_case();
CREATE FUNCTION refuse_change_of_awareness() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF OLD.aware_at IS NOT NULL AND NEW.aware_at IS DISTINCT FROM OLD.aware_at THEN
    RAISE EXCEPTION 'the awareness time of case % is refused another value', OLD.id USING ERRCODE = '23514';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER incident_case_aware_once BEFORE UPDATE ON incident_case FOR EACH ROW EXECUTE FUNCTION refuse_change_of_awareness();
