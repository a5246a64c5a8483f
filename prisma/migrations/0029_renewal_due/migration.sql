-- Rotation at ten million units (REN-6): what has to be looked at next is a row of its own, and a renewal costs fewer index entries.

-- A slot's state changes twice in a renewal, signing → pending → confirmed. While the state stood in the conditions of two
-- indexes, each change wrote an entry into all six. Now no index knows of it: whoever fills a slot has 0 here, whoever gave it
-- up their own id, so one unique index serves the claim, the head and every look at a lineage. Half of a page stays free, so
-- that both changes find room beside the row.
ALTER TABLE lineage_slot ADD COLUMN void_id bigint NOT NULL
  GENERATED ALWAYS AS (CASE WHEN state IN ('signing','pending','confirmed') THEN 0 ELSE id END) STORED;
DROP INDEX lineage_slot_taken;
DROP INDEX lineage_slot_lineage;
DROP INDEX lineage_slot_due;
-- Two servers can never both win a generation, whatever they believe (rules 4).
CREATE UNIQUE INDEX lineage_slot_taken ON lineage_slot (lineage_id, generation, void_id);
ALTER TABLE lineage_slot SET (fillfactor = 50);

-- One row a slot in use: when the worker looks at it next. Written with the slot, moved on by whoever looked; a slot that needs no
-- more looks has none. Insert and delete only, in the order of time: the scan reads exactly what is due.
CREATE TABLE renewal_due (
  due_at  timestamptz NOT NULL,
  slot_id bigint NOT NULL,
  PRIMARY KEY (due_at, slot_id)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05);

-- By value, as certificates are: the check of the reference locked the slot's row.
ALTER TABLE renewal_task DROP CONSTRAINT renewal_task_slot_id_fkey;
-- The marker that counts; another one of the same slot is a leftover.
ALTER TABLE renewal_task ADD COLUMN next_at timestamptz;
DROP INDEX renewal_task_open;
-- The oldest that are open, for people; and how many are overdue.
CREATE INDEX renewal_task_open ON renewal_task (opened_at) WHERE state IN ('due','reminded','overdue','dead');
CREATE INDEX renewal_task_overdue ON renewal_task (slot_id) WHERE state = 'overdue';

INSERT INTO renewal_due (due_at, slot_id)
SELECT greatest(s.renew_from, t.opened_at), s.id FROM lineage_slot s LEFT JOIN renewal_task t ON t.slot_id = s.id
WHERE s.state IN ('pending','confirmed') AND s.not_after > now() - interval '31 days' AND t.state IS DISTINCT FROM 'dead'
  AND NOT EXISTS (SELECT 1 FROM lineage_slot n WHERE n.lineage_id = s.lineage_id AND n.generation = s.generation + 1
    AND n.state = 'confirmed');
