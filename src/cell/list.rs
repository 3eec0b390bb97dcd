//! The list of the cells of this crate. A new cell needs a file of its own and an entry here.

/// Calls the macro `$then` with the list: for each cell its file, its type and, in brackets, examples for the random
/// networks of property tests. The types under `with_activation` are generic over the activation, and have no examples.
macro_rules! cells {
    ($then:ident) => {
        $then! {
            with_activation {
                elman: Elman;
            }
            plain {
                gru: Gru [Gru::new(), Gru::new().variant(crate::cell::GruVariant::ResetBefore)];
                lstm: Lstm [Lstm::new()];
                mgu: Mgu [Mgu::new()];
            }
        }
    };
}
pub(crate) use cells;
