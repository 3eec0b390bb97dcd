//! Products, reductions and elementwise loops: the only place for `unsafe`.
