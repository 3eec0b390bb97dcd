//! Guides: one page for each task, with examples that run as tests.
//!
//! | page | task |
//! | --- | --- |
//! | [`csv_classifier`] | from a CSV file to a saved classifier that predicts |
//! | [`from_pytorch`] | PyTorch's names beside those of this crate |
//! | [`own_loop`] | write the training loop by hand |
//! | [`sequences`] | give sequences: layouts, unequal length, masks, long series, dropout of a recurrence |
//! | [`streaming`] | predict one time step at a time, ship a model |
//! | [`own_parts`] | write an activation, layer, cell, initializer, loss, transform or monitor |
//! | [`gradient_health`] | keep gradients healthy, in tests and during a run; the page of a run |
//! | [`reproducibility`] | get the same bits again |
//! | [`ranks`] | train on several processes or machines |
//! | [`features`] | choose features and targets |
//! | [`performance`] | make it fast |
//! | [`narrow_formats`] | train in `f16` or `bf16`, on several threads |
//! | [`out_of_memory`] | make it fit |
//!
//! The same pages are in `docs/guide`.

macro_rules! pages {
    ($($(#[$attribute:meta])* $name:ident)+) => {
        $(
            $(#[$attribute])*
            #[doc = include_str!(concat!("../docs/guide/", stringify!($name), ".md"))]
            pub mod $name {}
        )+
    };
}

pages! {
    #[cfg(feature = "safetensors")]
    csv_classifier
    from_pytorch
    own_loop
    sequences
    #[cfg(feature = "safetensors")]
    streaming
    #[cfg(feature = "std")]
    own_parts
    #[cfg(all(feature = "serde", feature = "std", feature = "tensorboard"))]
    gradient_health
    #[cfg(feature = "safetensors")]
    reproducibility
    #[cfg(feature = "std")]
    ranks
    #[cfg(feature = "tracing")]
    features
    #[cfg(feature = "std")]
    performance
    #[cfg(feature = "half")]
    narrow_formats
    out_of_memory
}
