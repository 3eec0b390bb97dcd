//! Certificates: no gradient exceeds one, some gradients attain it, and the printed conclusion is right.

mod attained;
mod exceeded;
mod measure;
mod network;
mod statements;
