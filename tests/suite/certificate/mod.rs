//! Certificates: no gradient exceeds one, some attain it, and it says what follows.

mod attained;
mod exceeded;
mod measure;
mod network;
mod statements;
