//! Guides: one page for each task, with examples that run as tests.
//!
//! | page | task |
//! | --- | --- |
//! | [`csv_classifier`] | from a CSV file to a saved classifier that predicts |
//! | [`regression`] | predict numbers: scale inputs and targets, errors in the units of the data |
//! | [`from_pytorch`] | PyTorch's names beside those of this crate |
//! | [`own_loop`] | write the training loop by hand |
//! | [`sequences`] | give sequences: layouts, unequal length, masks, long series, dropout of a recurrence |
//! | [`streaming`] | predict one time step at a time, ship a model, train it further |
//! | [`own_parts`] | write an activation, layer, cell, initializer, loss, transform or monitor |
//! | [`gradient_health`] | keep gradients healthy, in tests and during a run; the page of a run |
//! | [`reproducibility`] | get the same bits again; continue after a crash |
//! | [`ranks`] | train on several processes or machines |
//! | [`features`] | choose features and targets |
//! | [`performance`] | make it fast |
//! | [`narrow_formats`] | train in `f16` or `bf16`, on several threads |
//! | [`out_of_memory`] | make it fit |
//!
//! A page whose examples need features that are off says so, in place of its text. The same pages are in
//! `docs/guide`.

/// Declares the modules of the guide, one for each page. The text of a page needs the features in parentheses, since
/// its examples do.
macro_rules! pages {
    ($($name:ident($($feature:tt)*);)+) => {
        $(
            #[cfg_attr(
                all($(feature = $feature),*),
                doc = include_str!(concat!("../docs/guide/", stringify!($name), ".md"))
            )]
            #[cfg_attr(
                not(all($(feature = $feature),*)),
                doc = concat!(
                    "This page is shown if these features are on:", $(" `", $feature, "`",)*
                    ". Its text is in `docs/guide/", stringify!($name), ".md`."
                )
            )]
            pub mod $name {}
        )+
    };
}

pages! {
    csv_classifier("safetensors");
    regression();
    from_pytorch();
    own_loop();
    sequences();
    streaming("safetensors");
    own_parts("std");
    gradient_health("serde" "std" "tensorboard");
    reproducibility("safetensors");
    ranks("std");
    features("tracing");
    performance("std");
    narrow_formats("half");
    out_of_memory();
}
