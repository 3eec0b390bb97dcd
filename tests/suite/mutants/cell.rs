//! Wrong cells: copies of the LSTM and of the GRU that resets the state, with one mistake each.

use super::{all_caught, caught};
use chainrule::{
    Activation, Gate, Scalar,
    activation::{Sigmoid, Tanh},
    recurrent::{Cell, CellBackward, CellForward, CellSizes, Operand, Product},
    testing::{Law, cell_laws},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    ForgetGateMissing,
    ForgetGateMissingBackward,
    ForgetGateForHidden,
    InputGateMissing,
    CandidateWithSigmoidBackward,
    OutputGateGradientMissing,
    OutputTanhDerivativeMissing,
    MemoryGradientIgnored,
    MemoryGradientNotReturned,
    MemoryNotWritten,
    GatesSwappedBackward,
    DerivativeAtGateValue,
    MemoryOfThisStep,
    SignOfCandidate,
    GateTwice,
    NoGates,
    ProductBeyondGates,
    OwnOperandAtStageZero,
    StageSkipped,
}

/// `c_t = f ⊙ c_{t−1} + i ⊙ g`, `h_t = o ⊙ tanh c_t`.
#[derive(Clone, Copy, Debug)]
struct Memory(Fault);

impl Memory {
    fn is(&self, fault: Fault) -> bool {
        self.0 == fault
    }
}

impl Cell for Memory {
    fn gates(&self) -> &'static [Gate] {
        match self.0 {
            Fault::GateTwice => {
                const { &[Gate::new("input"), Gate::carrying_state("forget"), Gate::new("input"), Gate::new("output")] }
            }
            Fault::NoGates => &[],
            _ => {
                const { &[Gate::new("input"), Gate::carrying_state("forget"), Gate::new("candidate"), Gate::new("output")] }
            }
        }
    }

    fn products(&self) -> Vec<Product> {
        match self.0 {
            Fault::ProductBeyondGates => {
                vec![Product { gates: 0..5, stage: 0, operand: Operand::Hidden, keep_separate: false }]
            }
            Fault::OwnOperandAtStageZero => {
                vec![Product { gates: 0..4, stage: 0, operand: Operand::StageOutput, keep_separate: false }]
            }
            Fault::StageSkipped => {
                vec![Product { gates: 0..4, stage: 2, operand: Operand::StageOutput, keep_separate: false }]
            }
            _ => vec![Product { gates: 0..4, stage: 0, operand: Operand::Hidden, keep_separate: false }],
        }
    }

    fn sizes(&self) -> CellSizes {
        CellSizes { cell_state: 1, between_stages: 0 }
    }

    fn forward<T: Scalar>(&self, _stage: usize, unit: CellForward<'_, T>) {
        let n = unit.h_prev.len();
        for j in 0..n {
            let [i, f, g, o] = [0, 1, 2, 3].map(|gate| unit.z[gate * n + j]);
            let forget = match self.0 {
                Fault::ForgetGateMissing => T::one(),
                _ => Sigmoid.value(f),
            };
            let kept = if self.is(Fault::ForgetGateForHidden) { unit.h_prev[j] } else { unit.cell_state_prev[j] };
            let input = if self.is(Fault::InputGateMissing) { T::one() } else { Sigmoid.value(i) };
            let c = forget * kept + input * Tanh.value(g);
            if !self.is(Fault::MemoryNotWritten) {
                unit.cell_state[j] = c;
            }
            unit.h[j] = Sigmoid.value(o) * Tanh.value(c);
        }
    }

    fn backward<T: Scalar>(&self, _stage: usize, unit: CellBackward<'_, T>) {
        let n = unit.h_prev.len();
        for j in 0..n {
            let [i, f, g, o] = [0, 1, 2, 3].map(|gate| unit.z[gate * n + j]);
            let (c, dh) = (unit.cell_state[j], unit.d_h[j]);
            let slope = |z: T| match self.0 {
                Fault::DerivativeAtGateValue => Sigmoid.derivative(Sigmoid.value(z), z),
                _ => Sigmoid.derivative(z, Sigmoid.value(z)),
            };
            let through = match self.0 {
                Fault::OutputTanhDerivativeMissing => T::one(),
                _ => Tanh.derivative(c, Tanh.value(c)),
            };
            let from_later = if self.is(Fault::MemoryGradientIgnored) { T::zero() } else { unit.d_cell_state[j] };
            let dc = from_later + dh * Sigmoid.value(o) * through;
            let before = if self.is(Fault::MemoryOfThisStep) { c } else { unit.cell_state_prev[j] };
            let candidate_slope = match self.0 {
                Fault::CandidateWithSigmoidBackward => slope(g),
                _ => Tanh.derivative(g, Tanh.value(g)),
            };
            let input = if self.is(Fault::InputGateMissing) { T::zero() } else { slope(i) };
            let mut d = [
                dc * Tanh.value(g) * input,
                if self.is(Fault::ForgetGateMissing) { T::zero() } else { dc * before * slope(f) },
                dc * Sigmoid.value(i) * candidate_slope,
                dh * Tanh.value(c) * slope(o),
            ];
            match self.0 {
                Fault::GatesSwappedBackward => d.swap(0, 1),
                Fault::OutputGateGradientMissing => d[3] = T::zero(),
                Fault::SignOfCandidate => d[2] = -d[2],
                Fault::InputGateMissing => d[2] = dc * candidate_slope,
                Fault::ForgetGateForHidden => {
                    d[1] = dc * unit.h_prev[j] * slope(f);
                    unit.d_h_prev[j] += dc * Sigmoid.value(f);
                }
                _ => {}
            }
            d.iter().enumerate().for_each(|(gate, &d)| unit.z[gate * n + j] = d);
            unit.d_cell_state[j] = match self.0 {
                Fault::ForgetGateMissing | Fault::ForgetGateMissingBackward => dc,
                Fault::ForgetGateForHidden | Fault::MemoryGradientNotReturned => T::zero(),
                _ => dc * Sigmoid.value(f),
            };
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slip {
    None,
    ComplementForgotten,
    ResetNotBackward,
    UpdateNotHeld,
    SkipGradientMissing,
    SkipGradientTwice,
    OperandNotWritten,
    OperandGradientIgnored,
    CandidateAtWrongPoint,
}

/// `h_t = (1 − z) ⊙ n + z ⊙ h_{t−1}`, `n = tanh(W_n x + U_n (r ⊙ h_{t−1}))`.
#[derive(Clone, Copy, Debug)]
struct Gated(Slip);

impl Gated {
    fn is(&self, slip: Slip) -> bool {
        self.0 == slip
    }
}

impl Cell for Gated {
    fn gates(&self) -> &'static [Gate] {
        const { &[Gate::new("reset"), Gate::carrying_state("update"), Gate::new("candidate")] }
    }

    fn products(&self) -> Vec<Product> {
        vec![
            Product { gates: 0..2, stage: 0, operand: Operand::Hidden, keep_separate: false },
            Product { gates: 2..3, stage: 1, operand: Operand::StageOutput, keep_separate: false },
        ]
    }

    fn sizes(&self) -> CellSizes {
        CellSizes { cell_state: 0, between_stages: 1 }
    }

    fn forward<T: Scalar>(&self, stage: usize, unit: CellForward<'_, T>) {
        let n = unit.h_prev.len();
        for j in 0..n {
            let (reset, update) = (Sigmoid.value(unit.z[j]), Sigmoid.value(unit.z[n + j]));
            if stage == 0 {
                if !self.is(Slip::OperandNotWritten) {
                    unit.operand[j] = reset * unit.h_prev[j];
                }
            } else {
                let rest = if self.is(Slip::ComplementForgotten) { update } else { T::one() - update };
                unit.h[j] = rest * Tanh.value(unit.z[2 * n + j]) + update * unit.h_prev[j];
            }
        }
    }

    fn backward<T: Scalar>(&self, stage: usize, unit: CellBackward<'_, T>) {
        let n = unit.h_prev.len();
        for j in 0..n {
            let (reset, update) = (Sigmoid.value(unit.z[j]), Sigmoid.value(unit.z[n + j]));
            if stage == 0 {
                let d = if self.is(Slip::OperandGradientIgnored) { T::zero() } else { unit.d_operand[j] };
                if !self.is(Slip::ResetNotBackward) {
                    unit.d_h_prev[j] += d * reset;
                }
                unit.z[j] = d * unit.h_prev[j] * Sigmoid.derivative(unit.z[j], reset);
                unit.z[n + j] = unit.between_stages[j] * Sigmoid.derivative(unit.z[n + j], update);
            } else {
                let (z, dh) = (unit.z[2 * n + j], unit.d_h[j]);
                let candidate = Tanh.value(z);
                if !self.is(Slip::UpdateNotHeld) {
                    unit.between_stages[j] = dh * (unit.h_prev[j] - candidate);
                }
                let point = if self.is(Slip::CandidateAtWrongPoint) { candidate } else { z };
                unit.z[2 * n + j] = dh * (T::one() - update) * Tanh.derivative(point, Tanh.value(point));
                if !self.is(Slip::SkipGradientMissing) {
                    unit.d_h_prev[j] += dh * update;
                }
                if self.is(Slip::SkipGradientTwice) {
                    unit.d_h_prev[j] += dh * update;
                }
            }
        }
    }
}

#[test]
fn mutants_of_cells() {
    cell_laws(&Memory(Fault::None), 0).expect("without a mistake there is nothing to accuse");
    cell_laws(&Gated(Slip::None), 0).expect("without a mistake there is nothing to accuse");
    let memory = [
        (Fault::ForgetGateMissing, Law::BlocksMatter),
        (Fault::ForgetGateMissingBackward, Law::Adjoint),
        (Fault::InputGateMissing, Law::BlocksMatter),
        (Fault::CandidateWithSigmoidBackward, Law::Adjoint),
        (Fault::OutputGateGradientMissing, Law::Adjoint),
        (Fault::OutputTanhDerivativeMissing, Law::Adjoint),
        (Fault::MemoryGradientIgnored, Law::Adjoint),
        (Fault::MemoryGradientNotReturned, Law::Adjoint),
        (Fault::MemoryNotWritten, Law::ReadsOnlyWritten),
        (Fault::GatesSwappedBackward, Law::Adjoint),
        (Fault::DerivativeAtGateValue, Law::Adjoint),
        (Fault::MemoryOfThisStep, Law::Adjoint),
        (Fault::SignOfCandidate, Law::Adjoint),
        (Fault::GateTwice, Law::CellFacts),
        (Fault::NoGates, Law::CellFacts),
        (Fault::ProductBeyondGates, Law::CellFacts),
        (Fault::OwnOperandAtStageZero, Law::CellFacts),
        (Fault::StageSkipped, Law::CellFacts),
    ];
    let gated = [
        (Slip::ComplementForgotten, Law::Adjoint),
        (Slip::ResetNotBackward, Law::Adjoint),
        (Slip::UpdateNotHeld, Law::ReadsOnlyWritten),
        (Slip::SkipGradientMissing, Law::Adjoint),
        (Slip::SkipGradientTwice, Law::Adjoint),
        (Slip::OperandNotWritten, Law::ReadsOnlyWritten),
        (Slip::OperandGradientIgnored, Law::Adjoint),
        (Slip::CandidateAtWrongPoint, Law::Adjoint),
    ];
    let memory = memory.map(|(fault, law)| caught(&format!("{fault:?}"), law, cell_laws(&Memory(fault), 0)));
    let gated = gated.map(|(slip, law)| caught(&format!("{slip:?}"), law, cell_laws(&Gated(slip), 0)));
    all_caught("cells", memory.into_iter().chain(gated));
}
