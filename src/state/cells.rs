//! What a gateway knows of documents, in its memory: one cell a document.
