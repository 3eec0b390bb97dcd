//! Names of types, under which custom layers, losses and other parts are saved.

use alloc::{
    format,
    string::{String, ToString},
};

/// Returns a type's name without module paths, also in its generic arguments: `B<D>` for `a::B<c::D>`.
pub(crate) fn without_paths(name: &str) -> String {
    let mut short = String::with_capacity(name.len());
    let mut word = 0;
    let mut rest = name;
    while let Some(next) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("::") {
            short.truncate(word);
            rest = after;
            continue;
        }
        short.push(next);
        if !(next.is_alphanumeric() || next == '_') {
            word = short.len();
        }
        rest = &rest[next.len_utf8()..];
    }
    short
}

/// Returns the name under which the type `S`, such as a custom layer, is saved: its name with paths, but without the
/// scalar type `T` in generic arguments. So `a::B<f32, c::D>` and `a::B<f64, c::D>` are both `a::B<c::D>`.
pub(crate) fn saved_name<S: ?Sized, T>() -> String {
    without_argument(core::any::type_name::<S>(), core::any::type_name::<T>())
}

/// Returns the type name `name` without the generic argument `argument`, at any depth.
pub(crate) fn without_argument(name: &str, argument: &str) -> String {
    let (mut short, mut rest) = (String::with_capacity(name.len()), name);
    while let Some(at) = rest.find(argument) {
        let (before, after) = (&rest[..at], &rest[at + argument.len()..]);
        short.push_str(before);
        match (short.ends_with('<'), short.ends_with(", "), after.starts_with('>'), after.strip_prefix(", ")) {
            // The only argument: its brackets are removed too.
            (true, _, true, _) => {
                short.pop();
                rest = &after[1..];
            }
            (true, _, _, Some(others)) => rest = others,
            // The elements of a tuple also end with a comma, but the bracket around them is not that of generic
            // arguments.
            (_, true, true, _) | (_, true, _, Some(_)) if is_among_arguments(&short) => {
                short.truncate(short.len() - 2);
                rest = after;
            }
            _ => {
                short.push_str(argument);
                rest = after;
            }
        }
    }
    short.push_str(rest);
    short
}

/// Whether the last open bracket of `name` encloses generic arguments, rather than a tuple or an array.
fn is_among_arguments(name: &str) -> bool {
    let mut closed = 0;
    for bracket in name.bytes().rev() {
        match bracket {
            b'>' | b')' | b']' => closed += 1,
            b'<' | b'(' | b'[' if closed > 0 => closed -= 1,
            b'<' => return true,
            b'(' | b'[' => return false,
            _ => {}
        }
    }
    false
}

/// Returns `name`, a space and `settings`, the settings of a custom activation or initializer as text. If `settings`
/// begins with the name, as the output of a derived `Debug` does, the result is `settings` alone.
pub(crate) fn in_full(name: &str, settings: &str) -> String {
    if settings.starts_with(name) { settings.to_string() } else { format!("{name} {settings}") }
}

#[cfg(test)]
mod tests {
    use super::without_argument;

    #[test]
    fn argument_is_removed_at_any_depth_and_nothing_else() {
        for (name, expected) in [
            ("a::Times<f32>", "a::Times"),
            ("a::Times<f32, b::Tanh>", "a::Times<b::Tanh>"),
            ("a::Times<b::Tanh, f32>", "a::Times<b::Tanh>"),
            ("a::Times<A, f32, B>", "a::Times<A, B>"),
            ("a::Times<b::Inner<f32>>", "a::Times<b::Inner>"),
            ("a::Times<f32, f32>", "a::Times"),
            ("a::Times<(f32, f32)>", "a::Times<(f32, f32)>"),
            ("a::Times<[f32; 3], f32>", "a::Times<[f32; 3]>"),
            ("a::Times<f32x4, xf32>", "a::Times<f32x4, xf32>"),
            ("a::Times<alloc::boxed::Box<dyn b::Layer<f32>>>", "a::Times<alloc::boxed::Box<dyn b::Layer>>"),
            ("f32", "f32"),
            ("a::f32::Times", "a::f32::Times"),
        ] {
            assert_eq!(without_argument(name, "f32"), expected);
        }
    }
}
