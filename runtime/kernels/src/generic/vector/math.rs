//! Elementary functions on eight lanes: the same polynomials at every ISA,
//! so that ISAs differ by rounding alone. Small builds keep them once.

use super::simd::{MAGIC, Simd};

/// `e^x` to about 1 ulp: 0 far below, infinity above 88.72, NaN for NaN.
///
/// `e^x = 2^n e^r` with `n` the nearest whole number to `x / ln 2`, so `|r| <=
/// ln 2 / 2`, where `e^r` is `1 + r + r^2 Q(r)`; `Q` is a minimax fit of degree
/// 4 (relative error 0.05 x 2^-24).
#[cfg_attr(feature = "std", inline(always))]
pub fn exp<S: Simd>(s: S, x: S::V) -> S::V {
    // Outside this range the result is 0 or infinity anyway. The operands'
    // order lets NaN through.
    let x = s.max(s.splat(-104.0), s.min(s.splat(89.0), x));

    let n = nearest_whole(s, s.mul(x, s.splat(core::f32::consts::LOG2_E)));
    let p = exp_reduced(s, x, n);
    // 2^n in two factors, since n reaches past the range of an exponent.
    let n1 = nearest_whole(s, s.mul(n, s.splat(0.5)));
    let n2 = s.sub(n, n1);
    s.mul(s.mul(p, s.exp2_whole(n1)), s.exp2_whole(n2))
}

/// [`exp`] for `x <= 0` or NaN, where what is below 2^-126 may be 0: half the
/// instructions.
#[cfg_attr(feature = "std", inline(always))]
pub fn exp_falling<S: Simd>(s: S, x: S::V) -> S::V {
    // At -88 n is -127, whose power of two comes out as 0.
    let x = s.max(s.splat(-88.0), x);
    let n = nearest_whole(s, s.mul(x, s.splat(core::f32::consts::LOG2_E)));
    s.mul(exp_reduced(s, x, n), s.exp2_whole(n))
}

/// `e^(x - n ln 2)` for a difference of at most `ln 2 / 2`.
#[inline(always)]
fn exp_reduced<S: Simd>(s: S, x: S::V, n: S::V) -> S::V {
    // ln 2 in two parts; the first has 9 bits, so that n times it is exact.
    let r = s.mul_add(n, s.splat(-0.693_359_4), x);
    let r = s.mul_add(n, s.splat(2.121_944_4e-4), r);

    let q = s.splat(0.001_381_453_9);
    let q = s.mul_add(q, r, s.splat(0.008_368_745));
    let q = s.mul_add(q, r, s.splat(0.041_668_39));
    let q = s.mul_add(q, r, s.splat(0.166_665_21));
    let q = s.mul_add(q, r, s.splat(0.499_999_94));
    let p = s.mul_add(s.mul(r, r), q, r);
    s.add(p, s.splat(1.0))
}

/// The nearest whole number, for `|x| < 2^22`.
#[inline(always)]
fn nearest_whole<S: Simd>(s: S, x: S::V) -> S::V {
    let magic = s.splat(MAGIC);
    s.sub(s.add(x, magic), magic)
}

/// The logistic function `1 / (1 + e^-x)`.
#[cfg_attr(feature = "std", inline(always))]
pub fn sigmoid<S: Simd>(s: S, x: S::V) -> S::V {
    let one = s.splat(1.0);
    let e = exp(s, s.sub(s.splat(0.0), x));
    s.div(one, s.add(one, e))
}

/// `ln(1 + e^x)`. For large `x` the result is `x`, since `e^x` would overflow.
///
/// For the few numbers of a row that set how fast a recurrent state decays.
pub fn softplus(x: f32) -> f32 {
    if x > 20.0 {
        return x;
    }
    libm::log1pf(libm::expf(x))
}

/// `tanh x` to a few ulps.
///
/// Near 0 an odd polynomial, `x + x^3 P(x^2)` (minimax on `|x| <= 0.625`), and
/// `1 - 2 / (e^2x + 1)` elsewhere, which would cancel near 0.
#[cfg_attr(feature = "std", inline(always))]
pub fn tanh<S: Simd>(s: S, x: S::V) -> S::V {
    let z = s.mul(x, x);
    let p = s.splat(-0.005_704_987_3);
    let p = s.mul_add(p, z, s.splat(0.020_639_088));
    let p = s.mul_add(p, z, s.splat(-0.053_739_715));
    let p = s.mul_add(p, z, s.splat(0.133_314_42));
    let p = s.mul_add(p, z, s.splat(-0.333_332_8));
    let near = s.mul_add(s.mul(z, x), p, x);

    let one = s.splat(1.0);
    let e = exp(s, s.add(x, x));
    let far = s.sub(one, s.div(s.splat(2.0), s.add(e, one)));

    s.select_lt(s.abs(x), s.splat(0.625), near, far)
}

/// `x sigmoid(x)`, also called swish.
#[inline(always)]
pub fn silu<S: Simd>(s: S, x: S::V) -> S::V {
    s.mul(x, sigmoid(s, x))
}

/// GELU by its tanh approximation (Hendrycks and Gimpel, 2016), `x/2 (1 +
/// tanh(sqrt(2/pi) (x + 0.044715 x^3)))`; since `(1 + tanh u) / 2` is
/// `sigmoid(2u)`, no tanh is needed.
#[inline(always)]
pub fn gelu_tanh<S: Simd>(s: S, x: S::V) -> S::V {
    let cubic = s.mul_add(s.mul(x, x), s.splat(0.044_715), s.splat(1.0));
    let u2 = s.mul(s.mul(x, s.splat(1.595_769)), cubic);
    s.mul(x, sigmoid(s, u2))
}

/// `cap tanh(x / cap)`, with the inverse given: the soft cap of Gemma 2.
#[inline(always)]
pub fn softcap<S: Simd>(s: S, x: S::V, cap: f32, inverse: f32) -> S::V {
    s.mul(s.splat(cap), tanh(s, s.mul(x, s.splat(inverse))))
}

#[cfg(test)]
mod tests {
    use super::super::Scalar;
    use super::exp_falling;

    #[test]
    fn exp_falling_is_exp_or_zero() {
        let exp = |x: f32| exp_falling(Scalar, [x; 8])[0];
        for i in 0..870_000 {
            let x = -1e-4 * i as f32;
            let truth = f64::from(x).exp();
            let error = (f64::from(exp(x)) - truth).abs() / truth;
            assert!(error < 1.5e-7, "{x}: {error:e}");
        }
        for x in [-88.1, -1e4, f32::MIN, f32::NEG_INFINITY] {
            assert_eq!(exp(x), 0.0, "{x}");
        }
        assert!(exp(f32::NAN).is_nan());
    }
}
