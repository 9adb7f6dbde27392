-- What pages look up. Rows are numbered to keep indexes small; ids appear only in documents and texts.
-- Documents are numbered by date, undated ones last, then by URI: earlier documents have lower numbers.
CREATE TABLE documents (
    number INTEGER PRIMARY KEY,
    document_id TEXT NOT NULL,
    uri TEXT NOT NULL,
    {facts},                    -- of records.document_facts; times as 2024-11-12T06:00:00Z
    published_us INTEGER,       -- published_at in microseconds since 1970, in full precision
    origin TEXT,                -- site, series, folder, or month or year of publication
    paragraphs INTEGER NOT NULL,
    words INTEGER NOT NULL,
    reused_words INTEGER NOT NULL, -- words that also occur, or are aligned, in another document
    partners INTEGER NOT NULL   -- documents that share passages with it
);
CREATE TABLE provenance (       -- facts of a document that only its own page shows
    document INTEGER PRIMARY KEY,
    sha256 TEXT NOT NULL,
    text_sha256 TEXT NOT NULL,
    media_type TEXT NOT NULL,
    encoding TEXT NOT NULL,
    encoding_from TEXT NOT NULL,
    decode_errors INTEGER NOT NULL,
    extractor TEXT NOT NULL,
    extractor_version TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    characters INTEGER NOT NULL,
    unanchored INTEGER NOT NULL,
    run_id TEXT NOT NULL
);
CREATE TABLE sources (
    number INTEGER PRIMARY KEY, -- ordered by document and URI
    document INTEGER NOT NULL,
    uri TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    modified_at TEXT NOT NULL,
    target_uri TEXT,
    captured_at TEXT,
    run_id TEXT NOT NULL
);
CREATE TABLE texts (
    number INTEGER PRIMARY KEY,
    text_id TEXT NOT NULL,
    paragraph INTEGER NOT NULL, -- number of the representative
    words INTEGER NOT NULL,
    is_header INTEGER NOT NULL, -- 1 if it is a header line, which matches no other
    documents INTEGER NOT NULL, -- in which it occurs
    alike INTEGER NOT NULL,     -- in which it occurs or with which it shares a passage
    text TEXT NOT NULL
);
CREATE TABLE recurring (        -- stretches of texts that are in many documents
    text INTEGER NOT NULL,
    start_char INTEGER NOT NULL,
    end_char INTEGER NOT NULL,
    PRIMARY KEY (text, start_char)
) WITHOUT ROWID;
CREATE TABLE occurrences (
    document INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    text INTEGER NOT NULL,
    start_char INTEGER NOT NULL,
    end_char INTEGER NOT NULL,
    start_byte INTEGER,
    end_byte INTEGER,
    shift_at TEXT,              -- JSON array; null if empty
    shift_by TEXT,
    stretch_start TEXT,         -- likewise
    stretch_end TEXT,
    PRIMARY KEY (document, ordinal)
) WITHOUT ROWID;
CREATE TABLE "overlaps" (       -- each in both directions
    one INTEGER NOT NULL,
    other INTEGER NOT NULL,
    matched INTEGER NOT NULL,
    relation TEXT NOT NULL,
    PRIMARY KEY (one, other)
) WITHOUT ROWID;
CREATE TABLE pairs (            -- of documents, each in both directions
    one INTEGER NOT NULL,
    other INTEGER NOT NULL,
    matched INTEGER NOT NULL,   -- words shared by their texts
    own INTEGER NOT NULL,       -- of these, words of texts that do not recur
    PRIMARY KEY (one, other)
) WITHOUT ROWID;
CREATE TABLE rejects (
    number INTEGER PRIMARY KEY,
    uri TEXT NOT NULL,
    bytes INTEGER,
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    run_id TEXT NOT NULL
);
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
