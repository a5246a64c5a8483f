-- Decisions by day, so that old days go as whole tables (AUD-3).

-- The table as it was becomes the partition of everything up to tomorrow: nothing is copied.
ALTER TABLE decision RENAME TO decision_before;
ALTER INDEX decision_unit_at RENAME TO decision_before_unit_at;
ALTER INDEX decision_alarm RENAME TO decision_before_alarm;
ALTER INDEX decision_at RENAME TO decision_before_at;
ALTER TABLE decision_before RENAME CONSTRAINT decision_verdict_check TO decision_verdict;
ALTER TABLE decision_before
  DROP CONSTRAINT decision_pkey,
  ALTER COLUMN id DROP IDENTITY,
  -- The cell that was claimed at registration, and whether the line was the resolver's own word.
  ADD COLUMN cell text,
  ADD COLUMN line_sure boolean NOT NULL DEFAULT false;
CREATE TABLE decision (
  id             bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
  at             timestamptz NOT NULL,
  gateway_id     integer NOT NULL,
  unit_id        integer,
  issuer_id      smallint,
  serial         bytea,
  stage          text NOT NULL,
  key_proved     boolean NOT NULL,
  verdict        text NOT NULL CONSTRAINT decision_verdict CHECK (verdict IN ('permit','restricted','deny')),
  reasons        text[] NOT NULL,
  address        inet,
  line_id        integer,
  alarm_id       bigint,
  policy_version integer,
  cell           text,
  line_sure      boolean NOT NULL DEFAULT false,
  PRIMARY KEY (at, id)
) PARTITION BY RANGE (at);
CREATE INDEX decision_unit_at ON decision (unit_id, at);
CREATE INDEX decision_alarm ON decision (alarm_id, id) WHERE alarm_id IS NOT NULL;
-- Who else claimed a cell: few decisions name one.
CREATE INDEX decision_cell ON decision (cell, at) WHERE cell IS NOT NULL;
CREATE INDEX decision_at ON decision USING brin (at) WITH (pages_per_range = 16, autosummarize = on);
DO $$ BEGIN
  PERFORM setval(pg_get_serial_sequence('decision', 'id'), coalesce((SELECT max(id) FROM decision_before), 0) + 1, false);
  EXECUTE format('ALTER TABLE decision ATTACH PARTITION decision_before FOR VALUES FROM (MINVALUE) TO (%L)',
    date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' + interval '1 day');
END $$;
CREATE TABLE decision_default PARTITION OF decision DEFAULT;

-- A table a UTC day, where there is none yet. Made beside the parent and attached, so that nobody who asks has to wait; a
-- day whose rows are in the default partition already stays there.
CREATE FUNCTION ensure_decision_days(from_day timestamptz, days integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  lo timestamptz;
  name text;
BEGIN
  PERFORM set_config('lock_timeout', '500ms', true);
  FOR n IN 0..days - 1 LOOP
    lo := (date_trunc('day', from_day AT TIME ZONE 'UTC') + n * interval '1 day') AT TIME ZONE 'UTC';
    name := 'decision_' || to_char(lo AT TIME ZONE 'UTC', 'YYYYMMDD');
    CONTINUE WHEN to_regclass(name) IS NOT NULL;
    BEGIN
      EXECUTE format('CREATE TABLE %I (LIKE decision INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES)', name);
      EXECUTE format('ALTER TABLE decision ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name, lo, lo + interval '1 day');
    EXCEPTION WHEN check_violation OR invalid_object_definition OR lock_not_available THEN
      NULL; -- the subtransaction took the table back; tomorrow's run tries again
    END;
  END LOOP;
END $$;
SELECT ensure_decision_days(now() + interval '1 day', 8);

-- Drops whole days that ended before then, and gives their names.
CREATE FUNCTION drop_decision_days(ended_before timestamptz) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
  part record;
BEGIN
  PERFORM set_config('lock_timeout', '500ms', true);
  FOR part IN
    SELECT c.relname, substring(pg_get_expr(c.relpartbound, c.oid) FROM 'TO \(''([^'']+)''\)')::timestamptz AS ends
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'decision'::regclass
  LOOP
    IF part.ends <= ended_before THEN
      EXECUTE format('DROP TABLE %I', part.relname);
      RETURN NEXT part.relname::text;
    END IF;
  END LOOP;
END $$;
