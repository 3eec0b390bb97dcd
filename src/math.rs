//! Elementary functions of any scalar, in bodies that vectorise for `f32` and `f64`.
