-- Lineage: which version came from which. A version is registered after all that it was made from, so there
-- are no circles.

CREATE TABLE model_edges (
    child_id   bigint NOT NULL REFERENCES ml_models (model_id),
    parent_id  bigint NOT NULL REFERENCES ml_models (model_id),
    relation   text NOT NULL
               CHECK (relation IN ('trained from', 'transferred from', 'distilled from', 'collected by')),
    created_at timestamptz NOT NULL DEFAULT now(),

    PRIMARY KEY (child_id, parent_id, relation),
    CONSTRAINT model_edges_order CHECK (parent_id < child_id)
);

CREATE INDEX model_edges_parent ON model_edges (parent_id);

COMMENT ON TABLE model_edges IS 'Lineage of trained minds: child was <relation> parent';
