//! The technical words of a report, each with its meaning.

use alloc::{format, string::String};

/// Words as they appear in a report, each with its meaning there.
const WORDS: &[(&str, &str)] = &[
    ("decades", "powers of ten of the gradient's norm: −2 is a hundredth, 0 no change"),
    ("layer ", "a row of the table; layers are counted from 0 at the input, and 3.branch.0 lies inside layer 3"),
    ("φ′", "the slope of an activation at its input"),
    ("pre-activation", "an output of weights, which goes into an activation"),
    ("critical gain", "the size of weights at which a layer keeps the gradient's norm"),
    ("critical point", "weights at which an activation keeps the size of signal and gradient; sigmoid has none"),
    ("norm of", "the length of a vector: the root of the sum of its squares"),
    ("the format", "the type of the numbers, f32 or f64"),
    ("χ₁", "the factor of one layer on the square of the gradient's norm, on average"),
    ("branch", "the part of a residual block that is added to its input, the skip"),
    ("by theory", "computed from the layers and their initializers alone, without a pass"),
    ("theory predicts", "computed from the layers and their initializers alone, without a pass"),
    ("description", "the network as it was built: its layers, and the weights that its initializers draw"),
    ("certified", "a bound from the weights, which holds for any input and any loss"),
    ("span", "the number of steps that the task must remember; the whole sequence, where it was not given"),
    ("gate ", "a factor from 0 to 1, by which a cell lets values pass"),
    ("cosine", "of the angle between two vectors: 1 for the same direction, 0 for a right angle"),
    ("dead", "a unit whose φ′ is 0 for all inputs: it gives the same output always and learns nothing"),
    ("saturat", "at inputs so large that an activation is flat, so that φ′ is near 0"),
    ("Lyapunov", "the rate at which a small change of the state grows or shrinks in the end"),
    ("ρ(U)", "the largest modulus of an eigenvalue of the recurrent matrix U"),
    ("‖U‖₂", "the largest factor by which U lengthens a vector"),
    ("root mean square", "the square root of the mean of the squares: the usual size of a value"),
    ("seed", "a number that determines the random weights and the order of samples"),
    ("residual block", "layers beside a skip: what they compute is added to their input"),
    ("frozen block", "the weights, or the biases, of one layer that do not change in training"),
];

/// Returns the meanings of the [`WORDS`] that occur in `text`, one per line below a heading; empty if none occurs.
pub(super) fn meanings(text: &str) -> String {
    let mut lines = String::new();
    let mut last = "";
    for (word, meaning) in WORDS.iter().filter(|(word, _)| text.contains(word)) {
        if *meaning != last {
            let word = if *word == "saturat" { "saturated" } else { word.trim() };
            lines.push_str(&format!("  {word}: {meaning}\n"));
        }
        last = meaning;
    }
    if lines.is_empty() { lines } else { format!("words\n{lines}") }
}
