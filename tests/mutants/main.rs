//! Wrong on purpose: each law suite must accuse them, of the law that they break.

mod activation;
