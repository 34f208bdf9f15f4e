// Sums over pairs of atoms and over a particle mesh for one geometry, as XLA custom calls on a CPU.
//
// The pure JAX path (ectjax/pairs/terms.py, ectjax/coulomb/pme.py) is the reference. What is gained here: all functions
// of a pair are read in one run from one packed table, nothing of the size of (pairs × states²) is ever stored, and sums
// go straight to the atoms.
//
// A row of the packed table belongs to a pair of elements and an interval of the distance: 4 powers × F functions (h at i
// from the S states of j, h at j from the S states of i, R·φ of all S × S, zeros up to F), then 8 numbers, of which the
// first six are the quintic of R·K erfc(αR)/R, zeros where there is no Ewald sum.

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstdint>
#include <thread>
#include <type_traits>
#include <vector>

#include "xla/ffi/api/ffi.h"

namespace {

namespace ffi = xla::ffi;

constexpr int kMostStates = 8;
constexpr int kKernel = 8;  // numbers of a row that belong to the Ewald kernel
constexpr int64_t kShare = 50000;  // pairs or atoms × points below which another thread does not pay

constexpr int functions(int s) { return (2 * s + s * s + 7) / 8 * 8; }

// --- threads: every one has its own sums, added in a fixed order ---

int threads_for(int64_t work) {
  const int64_t most = std::max<int64_t>(1, std::thread::hardware_concurrency());
  return static_cast<int>(std::min(most, 1 + work / kShare));
}

template <typename Body>
void share(int64_t count, int threads, Body body) {
  std::vector<std::thread> others;
  for (int k = 1; k < threads; ++k)
    others.emplace_back(body, k, count * k / threads, count * (k + 1) / threads);
  body(0, 0, count / threads);
  for (auto& one : others) one.join();
}

struct Sums {
  int threads;
  int64_t size;
  std::vector<double> data;
  Sums(int threads, int64_t size) : threads(threads), size(size), data(threads * size, 0.0) {}
  double* of(int thread) { return data.data() + thread * size; }
  double total(int64_t k) const {
    double sum = data[k];
    for (int thread = 1; thread < threads; ++thread) sum += data[thread * size + k];
    return sum;
  }
  template <typename T>
  void write(T* out) const {
    for (int64_t k = 0; k < size; ++k) out[k] = static_cast<T>(total(k));
  }
};

// --- pairs ---

// distance, vector from i to j, row of the table and fraction of the interval; row −1 beyond the cutoff, −2 where a
// number is not finite
template <typename T>
void places(int64_t count, const T* x, const T* cell, const int32_t* species, const int32_t* i, const int32_t* j,
            const int32_t* shifts, const bool* mask, T padding, T cutoff, T spacing, int32_t intervals,
            int32_t elements, T* distance, T* vector, int32_t* row, T* t) {
  const T per = T(1) / spacing;
  share(count, threads_for(count), [=](int, int64_t first, int64_t last) {
    for (int64_t p = first; p < last; ++p) {
      t[p] = 0;
      row[p] = -1;
      distance[p] = padding;
      if (!mask[p]) continue;  // its vector is never read
      const T* a = x + 3 * i[p];
      const T* b = x + 3 * j[p];
      const int32_t* n = shifts + 3 * p;
      T square = 0;
      for (int d = 0; d < 3; ++d) {
        const T v = b[d] - a[d] + n[0] * cell[d] + n[1] * cell[3 + d] + n[2] * cell[6 + d];
        vector[3 * p + d] = v;
        square += v * v;
      }
      const T r = std::sqrt(square);
      distance[p] = r;
      if (r < cutoff) {
        const T scaled = r * per;
        const int32_t k = std::min(static_cast<int32_t>(scaled), intervals - 1);
        t[p] = scaled - k;
        row[p] = (species[i[p]] * elements + species[j[p]]) * intervals + k;
      } else if (!(r >= cutoff)) {
        row[p] = -2;
      }
    }
  });
}

template <typename T, int S>
struct Row {
  static constexpr int F = functions(S);
  static constexpr int stride = 4 * F + kKernel;
  const T* c;
  explicit Row(const T* table, int32_t row) : c(table + static_cast<int64_t>(row) * stride) {}

  // all functions at t; only the first `count` are wanted
  template <int count>
  void values(T t, T* v) const {
#pragma GCC unroll 64
    for (int f = 0; f < count; ++f) v[f] = ((c[3 * F + f] * t + c[2 * F + f]) * t + c[F + f]) * t + c[f];
  }
  void slopes(T t, T* v) const {
#pragma GCC unroll 64
    for (int f = 0; f < F; ++f) v[f] = (3 * c[3 * F + f] * t + 2 * c[2 * F + f]) * t + c[F + f];
  }
  T kernel(T t) const {
    const T* k = c + 4 * F;
    return ((((k[5] * t + k[4]) * t + k[3]) * t + k[2]) * t + k[1]) * t + k[0];
  }
  T kernel_slope(T t) const {
    const T* k = c + 4 * F;
    return (((5 * k[5] * t + 4 * k[4]) * t + 3 * k[3]) * t + 2 * k[2]) * t + k[1];
  }
};

template <typename T, int S>
void background(int64_t atoms, int64_t count, const T* w, const int32_t* i, const int32_t* j, const int32_t* row,
                const T* t, const T* table, T* out) {
  const int threads = threads_for(count);
  Sums sums(threads, atoms);
  share(count, threads, [&](int thread, int64_t first, int64_t last) {
    double* rho = sums.of(thread);
    T h[2 * S];
    for (int64_t p = first; p < last; ++p) {
      if (row[p] < 0) {
        if (row[p] == -2) rho[i[p]] = NAN;
        continue;
      }
      Row<T, S>(table, row[p]).template values<2 * S>(t[p], h);
      const T* wi = w + static_cast<int64_t>(i[p]) * S;
      const T* wj = w + static_cast<int64_t>(j[p]) * S;
      T at_i = 0, at_j = 0;
      for (int s = 0; s < S; ++s) {
        at_i += h[s] * wj[s];
        at_j += h[S + s] * wi[s];
      }
      rho[i[p]] += at_i;
      rho[j[p]] += at_j;
    }
  });
  sums.write(out);
}

// what forces need besides, and where they and dE/dε (r → r + εr) at fixed weights go
template <typename T>
struct Geometry {
  const T* vectors;
  T spacing;
  T* force;
  T* virial;
};

// ∂E/∂ω of pairs for every state; `pressure` is ∂E/∂ρ̄
template <typename T, int S, bool with_forces>
void around(int64_t atoms, int64_t count, const T* w, const T* pressure, const T* q, const int32_t* i, const int32_t* j,
            const int32_t* row, const T* t, const T* distance, const T* table, T* out, Geometry<T> geometry) {
  constexpr int F = functions(S);
  constexpr int kWidth = with_forces ? S + 3 : S;  // sums of an atom: states, then force
  const int threads = threads_for(count);
  const T per = T(1) / geometry.spacing;
  Sums sums(threads, kWidth * atoms + 9);
  std::vector<T> charge(atoms, T(0));
  for (int64_t n = 0; n < atoms; ++n)
    for (int s = 0; s < S; ++s) charge[n] += q[n * S + s] * w[n * S + s];
  share(count, threads, [&](int thread, int64_t first, int64_t last) {
    double* all = sums.of(thread);
    double strain[9] = {};
    int64_t a = count > 0 ? i[first] : 0;
    T at_a[kWidth] = {};  // of a run of pairs with the same first atom
    const auto finish = [&] {
      for (int k = 0; k < kWidth; ++k) {
        all[kWidth * a + k] += at_a[k];
        at_a[k] = 0;
      }
    };
    for (int64_t p = first; p < last; ++p) {
      if (row[p] < 0) {
        if (row[p] == -2) all[kWidth * i[p]] = all[kWidth * i[p] + kWidth - 1] = NAN;
        continue;
      }
      if (a != i[p]) {
        finish();
        a = i[p];
      }
      const int64_t b = j[p];
      const Row<T, S> entry(table, row[p]);
      T v[F], wi[S], wj[S], at_b[kWidth];
      entry.template values<F>(t[p], v);
      for (int s = 0; s < S; ++s) wi[s] = w[a * S + s];
      for (int s = 0; s < S; ++s) wj[s] = w[b * S + s];
      const T inverse = T(1) / distance[p], press_a = pressure[a], press_b = pressure[b];
      const T kernel = entry.kernel(t[p]), from_a = kernel * charge[a], from_b = kernel * charge[b];
      T pair = charge[a] * from_b;
      for (int s = 0; s < S; ++s) at_b[s] = q[b * S + s] * from_a;
      for (int s = 0; s < S; ++s) {
        T sum = 0;
        for (int u = 0; u < S; ++u) {
          sum += v[2 * S + s * S + u] * wj[u];
          at_b[u] += v[2 * S + s * S + u] * wi[s];
        }
        pair += sum * wi[s];
        at_a[s] += (sum + q[a * S + s] * from_b) * inverse + press_b * v[S + s];
      }
      for (int s = 0; s < S; ++s) at_b[s] = at_b[s] * inverse + press_a * v[s];
      if constexpr (with_forces) {
        entry.slopes(t[p], v);
        T density_a = 0, density_b = 0, change = charge[a] * charge[b] * entry.kernel_slope(t[p]);
        for (int s = 0; s < S; ++s) {
          density_a += v[s] * wj[s];
          density_b += v[S + s] * wi[s];
          T sum = 0;
          for (int u = 0; u < S; ++u) sum += v[2 * S + s * S + u] * wj[u];
          change += sum * wi[s];
        }
        const T push = press_a * density_a + press_b * density_b;
        const T along = ((push + change * inverse) * per - pair * inverse * inverse) * inverse;  // dE/dR / R
        const T* vector = geometry.vectors + 3 * p;
        for (int d = 0; d < 3; ++d) {
          const T force = along * vector[d];
          at_a[S + d] += force;
          at_b[S + d] = -force;
          for (int e = 0; e < 3; ++e) strain[3 * d + e] += force * vector[e];
        }
      }
      for (int k = 0; k < kWidth; ++k) all[kWidth * b + k] += at_b[k];
    }
    if (first < last) finish();
    for (int k = 0; k < 9; ++k) all[kWidth * atoms + k] += strain[k];
  });
  for (int64_t n = 0; n < atoms; ++n) {
    for (int s = 0; s < S; ++s) out[n * S + s] = static_cast<T>(sums.total(kWidth * n + s));
    if constexpr (with_forces)
      for (int d = 0; d < 3; ++d) geometry.force[3 * n + d] = static_cast<T>(sums.total(kWidth * n + S + d));
  }
  if constexpr (with_forces)
    for (int k = 0; k < 9; ++k) geometry.virial[k] = static_cast<T>(sums.total(kWidth * atoms + k));
}

// Σ_j k_ij x_j over listed pairs, both ways
template <typename T>
void pair_sum(int64_t atoms, int64_t count, const int32_t* i, const int32_t* j, const T* kernel, const T* x, T* out) {
  const int threads = threads_for(count / 4);
  Sums sums(threads, atoms);
  share(count, threads, [&](int thread, int64_t first, int64_t last) {
    double* sum = sums.of(thread);
    for (int64_t p = first; p < last; ++p) {
      sum[i[p]] += kernel[p] * x[j[p]];
      sum[j[p]] += kernel[p] * x[i[p]];
    }
  });
  sums.write(out);
}

// --- particle mesh ---

// cardinal B-splines of order P: values and slopes of the P mesh points from floor(u) − P + 1 on
template <typename T, int P>
struct Spline {
  T value[P], slope[P];
  explicit Spline(T t) {
    T m[P] = {1}, before[P] = {};
    for (int n = 2; n <= P; ++n) {
      if (n == P) std::copy(m, m + P, before);
      for (int k = n - 1; k >= 0; --k) {
        const T same = k < n - 1 ? m[k] : T(0), previous = k > 0 ? m[k - 1] : T(0);
        m[k] = ((t + k) * same + (n - t - k) * previous) / (n - 1);
      }
    }
    for (int k = 0; k < P; ++k) {
      const int back = P - 1 - k;
      value[k] = m[back];
      slope[k] = (back < P - 1 ? before[back] : T(0)) - (back > 0 ? before[back - 1] : T(0));
    }
  }
};

template <typename T, int P>
struct Place {
  int64_t first[3];
  T t[3];
  bool good = true;
  Place(const T* scaled, const int64_t* mesh) {
    for (int d = 0; d < 3; ++d) {
      const T whole = std::floor(scaled[d]);
      good = good && scaled[d] >= 0 && scaled[d] <= mesh[d];
      if (!good) return;
      t[d] = scaled[d] - whole;
      first[d] = (static_cast<int64_t>(whole) - (P - 1) + 2 * mesh[d]) % mesh[d];
    }
  }
};

// row(pointer to P mesh points along z, weight index x, weight index y) for all P² columns; columns that wrap around
// are copied to a buffer and, if `writes`, back
template <typename T, int P, bool writes, typename Mesh, typename Body>
void columns(Mesh* mesh, const int64_t* size, const Place<T, P>& place, Body body) {
  const bool wraps = place.first[2] + P > size[2];
  for (int a = 0; a < P; ++a) {
    const int64_t x = (place.first[0] + a) % size[0];
    for (int b = 0; b < P; ++b) {
      const int64_t y = (place.first[1] + b) % size[1];
      Mesh* column = mesh + (x * size[1] + y) * size[2];
      if (!wraps) {
        body(column + place.first[2], a, b);
        continue;
      }
      std::remove_const_t<Mesh> run[P];
      for (int k = 0; k < P; ++k) run[k] = column[(place.first[2] + k) % size[2]];
      body(run, a, b);
      if constexpr (writes)
        for (int k = 0; k < P; ++k) column[(place.first[2] + k) % size[2]] = run[k];
    }
  }
}

template <typename T, int P>
void spread(int64_t atoms, const T* scaled, const T* charges, const int64_t* size, T* mesh) {
  const int64_t points = size[0] * size[1] * size[2];
  std::fill(mesh, mesh + points, T(0));
  for (int64_t n = 0; n < atoms; ++n) {
    const Place<T, P> place(scaled + 3 * n, size);
    if (!place.good) {
      mesh[0] = NAN;
      continue;
    }
    const Spline<T, P> x(place.t[0]), y(place.t[1]), z(place.t[2]);
    columns<T, P, true>(mesh, size, place, [&](T* run, int a, int b) {
      const T w = charges[n] * x.value[a] * y.value[b];
      for (int k = 0; k < P; ++k) run[k] += w * z.value[k];
    });
  }
}

template <typename T, int P>
void gather(int64_t atoms, const T* scaled, const T* field, const int64_t* size, T* out) {
  share(atoms, threads_for(atoms * P * P), [=](int, int64_t first, int64_t last) {
    for (int64_t n = first; n < last; ++n) {
      const Place<T, P> place(scaled + 3 * n, size);
      if (!place.good) {
        out[n] = NAN;
        continue;
      }
      const Spline<T, P> x(place.t[0]), y(place.t[1]), z(place.t[2]);
      T sum = 0;
      columns<T, P, false>(field, size, place, [&](const T* run, int a, int b) {
        T along = 0;
        for (int k = 0; k < P; ++k) along += run[k] * z.value[k];
        sum += x.value[a] * y.value[b] * along;
      });
      out[n] = sum;
    }
  });
}

template <typename T, int P>
void gather_with_slopes(int64_t atoms, const T* scaled, const T* field, const int64_t* size, T* out, T* slopes) {
  share(atoms, threads_for(atoms * P * P), [=](int, int64_t first, int64_t last) {
    for (int64_t n = first; n < last; ++n) {
      const Place<T, P> place(scaled + 3 * n, size);
      if (!place.good) {
        out[n] = slopes[3 * n] = slopes[3 * n + 1] = slopes[3 * n + 2] = NAN;
        continue;
      }
      const Spline<T, P> x(place.t[0]), y(place.t[1]), z(place.t[2]);
      T all = 0, sum[3] = {};
      columns<T, P, false>(field, size, place, [&](const T* run, int a, int b) {
        T value = 0, slope = 0;
        for (int k = 0; k < P; ++k) {
          value += run[k] * z.value[k];
          slope += run[k] * z.slope[k];
        }
        all += x.value[a] * y.value[b] * value;
        sum[0] += x.slope[a] * y.value[b] * value;
        sum[1] += x.value[a] * y.slope[b] * value;
        sum[2] += x.value[a] * y.value[b] * slope;
      });
      out[n] = all;
      for (int d = 0; d < 3; ++d) slopes[3 * n + d] = sum[d];
    }
  });
}

// the spectrum times the influence function, and dE/dε of E = ½ Σ influence·|spectrum|² over all modes, of which the
// half spectrum holds half; `reciprocal` has rows b/(2π)
template <typename T>
void convolve(const std::complex<T>* spectrum, const T* influence, const T* reciprocal, const int64_t* size,
              int64_t half, T alpha, std::complex<T>* out, T* virial) {
  constexpr T kTurn = 6.283185307179586476925286766559;
  const T width = 1 / (4 * alpha * alpha);
  const int threads = threads_for(size[0] * size[1] * half / 16);
  Sums sums(threads, 9);
  share(size[0], threads, [&](int thread, int64_t first, int64_t last) {
    double* sum = sums.of(thread);
    T step[3], step_square = 0;
    for (int d = 0; d < 3; ++d) {
      step[d] = kTurn * reciprocal[6 + d];
      step_square += step[d] * step[d];
    }
    for (int64_t x = first; x < last; ++x) {
      const int64_t nx = 2 * x < size[0] ? x : x - size[0];
      for (int64_t y = 0; y < size[1]; ++y) {
        const int64_t ny = 2 * y < size[1] ? y : y - size[1], start = (x * size[1] + y) * half;
        T k[3], square = 0, cross = 0;
        for (int d = 0; d < 3; ++d) {
          k[d] = kTurn * (nx * reciprocal[d] + ny * reciprocal[3 + d]);
          square += k[d] * k[d];
          cross += 2 * k[d] * step[d];
        }
        // the wave vectors of this column are k + n·step: four sums hold everything of k kᵀ
        T energy = 0, none = 0, once = 0, twice = 0;
        for (int64_t n = 0; n < half; ++n) {
          const std::complex<T> s = spectrum[start + n];
          const T green = influence[start + n], e = green * (s.real() * s.real() + s.imag() * s.imag());
          out[start + n] = std::complex<T>(green * s.real(), green * s.imag());
          const T m = n, all = square + (cross + step_square * m) * m;
          const T own = n == 0 ? e / 2 : e;  // of ±n the half spectrum holds one
          const T g = 2 * own * (all > 0 ? 1 / all + width : T(0));
          energy += own;
          none += g;
          once += g * m;
          twice += g * m * m;
        }
        for (int d = 0; d < 3; ++d) {
          sum[3 * d + d] -= energy;
          for (int f = 0; f < 3; ++f)
            sum[3 * d + f] += none * k[d] * k[f] + once * (k[d] * step[f] + step[d] * k[f]) + twice * step[d] * step[f];
        }
      }
    }
  });
  sums.write(virial);
}

// --- what XLA calls ---

template <int S = 1, typename Body>
ffi::Error with_states(int64_t states, Body body) {
  if constexpr (S > kMostStates) {
    return ffi::Error::InvalidArgument("more states per element than the compiled sums know");
  } else {
    if (states != S) return with_states<S + 1>(states, body);
    body(std::integral_constant<int, S>());
    return ffi::Error::Success();
  }
}

template <int P = 4, typename Body>
ffi::Error with_order(int64_t order, Body body) {
  if constexpr (P > 16) {
    return ffi::Error::InvalidArgument("spline order outside 4 to 16");
  } else {
    if (order != P) return with_order<P + 1>(order, body);
    body(std::integral_constant<int, P>());
    return ffi::Error::Success();
  }
}

using Ints = ffi::Buffer<ffi::S32>;
using Bools = ffi::Buffer<ffi::PRED>;
template <ffi::DataType D>
using In = ffi::Buffer<D>;
template <ffi::DataType D>
using Out = ffi::ResultBuffer<D>;

template <ffi::DataType D>
ffi::Error Places(In<D> x, In<D> cell, Ints species, Ints i, Ints j, Ints shifts, Bools mask, double padding,
                  double cutoff, double spacing, int64_t intervals, int64_t elements, Out<D> distance, Out<D> vector,
                  ffi::ResultBuffer<ffi::S32> row, Out<D> t) {
  using T = ffi::NativeType<D>;
  places<T>(i.element_count(), x.typed_data(), cell.typed_data(), species.typed_data(), i.typed_data(), j.typed_data(),
            shifts.typed_data(), mask.typed_data(), T(padding), T(cutoff), T(spacing), intervals, elements,
            distance->typed_data(), vector->typed_data(), row->typed_data(), t->typed_data());
  return ffi::Error::Success();
}

template <ffi::DataType D>
ffi::Error Background(In<D> w, Ints i, Ints j, Ints row, In<D> t, In<D> table, Out<D> out) {
  using T = ffi::NativeType<D>;
  return with_states(w.dimensions()[1], [&](auto s) {
    background<T, decltype(s)::value>(w.dimensions()[0], i.element_count(), w.typed_data(), i.typed_data(),
                                      j.typed_data(), row.typed_data(), t.typed_data(), table.typed_data(),
                                      out->typed_data());
  });
}

template <ffi::DataType D>
ffi::Error Around(In<D> w, In<D> pressure, In<D> q, Ints i, Ints j, Ints row, In<D> t, In<D> distance, In<D> table,
                  Out<D> out) {
  using T = ffi::NativeType<D>;
  return with_states(w.dimensions()[1], [&](auto s) {
    around<T, decltype(s)::value, false>(w.dimensions()[0], i.element_count(), w.typed_data(), pressure.typed_data(),
                                         q.typed_data(), i.typed_data(), j.typed_data(), row.typed_data(),
                                         t.typed_data(), distance.typed_data(), table.typed_data(), out->typed_data(),
                                         Geometry<T>());
  });
}

template <ffi::DataType D>
ffi::Error AroundWithForces(In<D> w, In<D> pressure, In<D> q, Ints i, Ints j, Ints row, In<D> t, In<D> distance,
                            In<D> table, In<D> vector, double spacing, Out<D> out, Out<D> force, Out<D> virial) {
  using T = ffi::NativeType<D>;
  const Geometry<T> geometry{vector.typed_data(), T(spacing), force->typed_data(), virial->typed_data()};
  return with_states(w.dimensions()[1], [&](auto s) {
    around<T, decltype(s)::value, true>(w.dimensions()[0], i.element_count(), w.typed_data(), pressure.typed_data(),
                                        q.typed_data(), i.typed_data(), j.typed_data(), row.typed_data(),
                                        t.typed_data(), distance.typed_data(), table.typed_data(), out->typed_data(),
                                        geometry);
  });
}

template <ffi::DataType D>
ffi::Error PairSum(Ints i, Ints j, In<D> kernel, In<D> x, Out<D> out) {
  using T = ffi::NativeType<D>;
  pair_sum<T>(x.element_count(), i.element_count(), i.typed_data(), j.typed_data(), kernel.typed_data(), x.typed_data(),
              out->typed_data());
  return ffi::Error::Success();
}

template <ffi::DataType D>
ffi::Error Spread(In<D> scaled, In<D> charges, int64_t order, Out<D> mesh) {
  using T = ffi::NativeType<D>;
  return with_order(order, [&](auto p) {
    spread<T, decltype(p)::value>(charges.element_count(), scaled.typed_data(), charges.typed_data(),
                                  mesh->dimensions().begin(), mesh->typed_data());
  });
}

template <ffi::DataType D>
ffi::Error Gather(In<D> scaled, In<D> field, int64_t order, Out<D> out) {
  using T = ffi::NativeType<D>;
  return with_order(order, [&](auto p) {
    gather<T, decltype(p)::value>(out->element_count(), scaled.typed_data(), field.typed_data(),
                                  field.dimensions().begin(), out->typed_data());
  });
}

template <ffi::DataType D>
ffi::Error GatherWithSlopes(In<D> scaled, In<D> field, int64_t order, Out<D> out, Out<D> slopes) {
  using T = ffi::NativeType<D>;
  return with_order(order, [&](auto p) {
    gather_with_slopes<T, decltype(p)::value>(out->element_count(), scaled.typed_data(), field.typed_data(),
                                              field.dimensions().begin(), out->typed_data(), slopes->typed_data());
  });
}

template <ffi::DataType D>
ffi::Error Convolve(ffi::Buffer<ffi::ToComplex(D)> spectrum, In<D> influence, In<D> reciprocal, double alpha,
                    ffi::ResultBuffer<ffi::ToComplex(D)> out, Out<D> virial) {
  using T = ffi::NativeType<D>;
  const auto size = spectrum.dimensions();
  convolve<T>(spectrum.typed_data(), influence.typed_data(), reciprocal.typed_data(), size.begin(), size[2], T(alpha),
              out->typed_data(), virial->typed_data());
  return ffi::Error::Success();
}

}  // namespace

#define REAL(D) ffi::Buffer<ffi::D>
#define DEFINE(name, function, D, binding) \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(name##_##D, (function<ffi::D>), ffi::Ffi::Bind() binding)
#define BOTH(name, function, binding) \
  DEFINE(name, function, F32, binding(F32)); \
  DEFINE(name, function, F64, binding(F64));

#define PLACES(D) \
  .Arg<REAL(D)>().Arg<REAL(D)>().Arg<Ints>().Arg<Ints>().Arg<Ints>().Arg<Ints>().Arg<Bools>() \
  .Attr<double>("padding").Attr<double>("cutoff").Attr<double>("spacing").Attr<int64_t>("intervals") \
  .Attr<int64_t>("elements").Ret<REAL(D)>().Ret<REAL(D)>().Ret<Ints>().Ret<REAL(D)>()
#define BACKGROUND(D) \
  .Arg<REAL(D)>().Arg<Ints>().Arg<Ints>().Arg<Ints>().Arg<REAL(D)>().Arg<REAL(D)>().Ret<REAL(D)>()
#define AROUND(D) \
  .Arg<REAL(D)>().Arg<REAL(D)>().Arg<REAL(D)>().Arg<Ints>().Arg<Ints>().Arg<Ints>().Arg<REAL(D)>().Arg<REAL(D)>() \
  .Arg<REAL(D)>().Ret<REAL(D)>()
#define AROUND_WITH_FORCES(D) \
  .Arg<REAL(D)>().Arg<REAL(D)>().Arg<REAL(D)>().Arg<Ints>().Arg<Ints>().Arg<Ints>().Arg<REAL(D)>().Arg<REAL(D)>() \
  .Arg<REAL(D)>().Arg<REAL(D)>().Attr<double>("spacing").Ret<REAL(D)>().Ret<REAL(D)>().Ret<REAL(D)>()
#define PAIR_SUM(D) .Arg<Ints>().Arg<Ints>().Arg<REAL(D)>().Arg<REAL(D)>().Ret<REAL(D)>()
#define SPREAD(D) .Arg<REAL(D)>().Arg<REAL(D)>().Attr<int64_t>("order").Ret<REAL(D)>()

#define GATHER_WITH_SLOPES(D) SPREAD(D).Ret<REAL(D)>()
#define CONVOLVE(D) \
  .Arg<ffi::Buffer<ffi::ToComplex(ffi::D)>>().Arg<REAL(D)>().Arg<REAL(D)>().Attr<double>("alpha") \
  .Ret<ffi::Buffer<ffi::ToComplex(ffi::D)>>().Ret<REAL(D)>()

BOTH(places, Places, PLACES)
BOTH(background, Background, BACKGROUND)
BOTH(around, Around, AROUND)
BOTH(around_with_forces, AroundWithForces, AROUND_WITH_FORCES)
BOTH(pair_sum, PairSum, PAIR_SUM)
BOTH(spread, Spread, SPREAD)
BOTH(gather, Gather, SPREAD)
BOTH(gather_with_slopes, GatherWithSlopes, GATHER_WITH_SLOPES)
BOTH(convolve, Convolve, CONVOLVE)
